//! Which command of the operator's socket goes to whom.

use std::sync::Arc;

use super::backfill::{self, Backfill};
use super::identities::Identities;
use super::members::{self, Operator};
use super::private::{self, Private};
use super::retention::{self, Keeper};
use super::rights;
use super::status::Board;
use crate::admin::Ask;

/// Whoever carries out the operator's commands.
pub(super) struct Commands {
    pub(super) board: Arc<Board>,
    pub(super) private: Private,
    pub(super) rights: rights::Operator,
    pub(super) backfill: Backfill,
    pub(super) members: Operator,
    pub(super) keeper: Arc<Keeper>,
    pub(super) identities: Identities,
}

pub(super) fn operators_commands(commands: Commands) -> Arc<Ask> {
    let Commands { board, private, rights, backfill, members, keeper, identities } = commands;
    Arc::new(move |command, request| {
        if command == "status" {
            let status = board.read();
            return Some(Box::pin(async { Ok(status) }));
        }
        if let Some(command) = backfill::Command::of(command) {
            return Some(Box::pin(backfill.clone().answer(command, request)));
        }
        if command == "identity.import" {
            let answer = identities.import(&request);
            return Some(Box::pin(async { answer }));
        }
        if let Some(command) = members::Command::of(command) {
            return Some(Box::pin(members.clone().answer(command, request)));
        }
        if let Some(command) = rights::Command::of(command) {
            return Some(Box::pin(rights.clone().answer(command, request)));
        }
        if let Some(command) = retention::Command::of(command) {
            let answer = keeper.answer(command, &request);
            return Some(Box::pin(async { answer }));
        }
        let command = private::Command::of(command)?;
        Some(Box::pin(private.clone().answer(command, request)))
    })
}
