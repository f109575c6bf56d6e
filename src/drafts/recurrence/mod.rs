//! When something that recurs happens: rules as clients of drafts write them, their occurrences, and rules in English.
//!
//! Dates are nominal: the day in the rule's own zone on which an occurrence is due, whatever was made of it later. The rules
//! are those of ALF (`packages/recurrence`); what it leaves open is decided here:
//!
//! - The anchor is `startDate`; without one, the first date after the rule was made on which it would fire if its interval
//!   were one. Nothing is before it. With an interval, every so many days, weeks (which begin on Sunday), months, quarters
//!   and years count, those of the anchor first.
//! - A day that a month does not have is its last one; a fifth weekday that it does not have is left out.
//! - A time that a zone leaves out is as much later as the clock was put forward; of one that comes twice the first is
//!   meant.
//! - `count` counts dates from the anchor on, those that are cancelled too. `endDate` is the last date that counts.
//! - All exceptions of a date hold together; a moved occurrence may be anywhere.
//! - From the first day of a revision its rule alone holds, anchored there.
//!
//! # Invariants
//! - No rule that was taken makes a search for occurrences endless: periods end with the calendar, in the year 9999.
//! - Of two occurrences of one instant both are given, the one of the earlier date first.

mod dates;
mod english;
mod occurrences;
mod rule;
#[cfg(test)]
mod tests;

pub use english::{read, written};
pub use occurrences::{Occurrence, Occurrences};
pub use rule::{BadRule, Exception, RecurrenceRule, Revision, Rule, Time};
