//! The handlers, one file per part of a namespace. Each is a function that [`super::METHODS`] points to and follows
//! the same order: skeleton, hydrate, rules, view.

pub(super) mod actor;
pub(super) mod admin;
pub(super) mod age_assurance;
pub(super) mod bookmark;
pub(super) mod community;
pub(super) mod contact;
pub(super) mod discovery;
pub(super) mod search;
pub(super) mod embed;
pub(super) mod draft;
pub(super) mod feed;
pub(super) mod feedgen;
pub(super) mod graph;
pub(super) mod identity;
pub(super) mod label;
pub(super) mod labeler;
pub(super) mod mute;
pub(super) mod notification;
pub(super) mod page;
pub(super) mod preferences;
pub(super) mod push;
mod quota;
pub(super) mod repo;
pub(super) mod rights;
pub(super) mod schedule;
pub(super) mod starter_pack;
pub(super) mod subscription;
pub(super) mod temp;
pub(super) mod unspecced;

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod feed_tests;
#[cfg(test)]
mod community_tests;
#[cfg(test)]
mod config_tests;
#[cfg(test)]
mod discovery_tests;
#[cfg(test)]
mod embed_tests;
#[cfg(test)]
mod label_tests;
#[cfg(test)]
mod order_tests;
#[cfg(test)]
mod private_tests;
#[cfg(test)]
mod profile_tests;
#[cfg(test)]
mod rights_tests;
#[cfg(test)]
mod schedule_tests;
#[cfg(test)]
mod search_bad_input_tests;
#[cfg(test)]
mod search_posts_tests;
#[cfg(test)]
mod search_tests;
#[cfg(test)]
mod starter_pack_tests;
#[cfg(test)]
mod tag_tests;
#[cfg(test)]
mod tests;
