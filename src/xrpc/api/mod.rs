//! The handlers, one file per part of a namespace. Each is a function that [`super::METHODS`] points to and follows
//! the same order: skeleton, hydrate, rules, view.

pub(super) mod temp;
