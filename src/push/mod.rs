//! Push: carries members' notifications out of the house, to the operator's endpoint and to web push services.
//!
//! The index puts a job into the outbox (`work::pushes`) in the batch that writes the notification, for each destination
//! one, due after a delay. [`Push`] takes the jobs when they are due, asks the rules that the notification list goes
//! by whether the recipient would see it, sends it, and takes the job away. It knows nothing of ingest, and
//! no requests of clients; registrations are made by `xrpc`.
//!
//! Of web push, RFC 8291 (encryption) and RFC 8292 (VAPID) are done here over ring, which TLS brings along. The crates
//! for it were looked at: `web-push` and `ece` encrypt with OpenSSL, `web-push-native` brings a second generation of
//! `p256`, `aes-gcm` and `hkdf`, and a JWT library for one signature. What they would save is `webpush::encrypt`.
//!
//! # Invariants
//! - A job is taken away only after its delivery was answered, or for a reason that is counted. A crash in between
//!   repeats the delivery, under the same `id`; nothing else does.
//! - A destination that does not answer holds up nothing but its own jobs.
//! - Strangers name the addresses of web push services: requests there go through the guarded client.

mod delivery;
mod limits;
mod message;
mod plan;
mod retry;
mod rules;
mod sender;
mod transport;
pub mod vapid;
mod webpush;

#[cfg(test)]
mod tests;

pub use sender::{CommunityGate, LabelerSource, Push, PushParts, PushSettings, PushStats};
pub use transport::{NetTransport, Transport, Via};
