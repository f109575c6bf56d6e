//! What a batch of the writer adds to the bare rows: numbers for names, packed records, counters.

use ipld_core::ipld::Ipld;

use crate::schema::rows::{AggRow, Counter, LabelRow, NotifRow};
use crate::schema::{ActorId, CollId, RecordId, Rkey, Rows as _, Target, names, packed};
use crate::store::{Ks, StoreError, Tx, Update};

/// Names that get a number, records that are packed, counters that change: over an open batch.
pub trait Edit {
    /// The number of a DID, a new one if it has none.
    fn intern_actor(&mut self, did: &str) -> Result<ActorId, StoreError>;
    /// The number of a collection, a new one if it has none.
    fn intern_coll(&mut self, nsid: &str) -> Result<CollId, StoreError>;
    /// The form of a record key, a new one if it has none.
    fn intern_rkey(&mut self, text: &str) -> Result<Rkey, StoreError>;
    /// A DID or full record AT-URI as a target, its parts interned; `None` if it is neither.
    fn intern_target(&mut self, subject: &str) -> Result<Option<Target>, StoreError>;
    /// Packs a record.
    fn pack(&mut self, value: &Ipld) -> Result<Vec<u8>, StoreError>;
    /// Packs a record for a row: with the digest of its CID, if the row has to keep that.
    fn pack_record(
        &mut self,
        value: &Ipld,
        cid: [u8; 32],
    ) -> Result<(Vec<u8>, Option<[u8; 32]>), StoreError>;
    /// Writes the labels on a target.
    fn put_labels(&mut self, target: Target, labels: &[LabelRow]);
    /// Whether the notification was there before the batch.
    fn had_notification(&self, to: ActorId, row: &NotifRow) -> Result<bool, StoreError>;
    /// Changes the counters of a target.
    fn update_agg(
        &mut self,
        target: Target,
        f: impl FnOnce(&mut AggRow),
    ) -> Result<AggRow, StoreError>;
    /// Adds to one counter.
    fn count(&mut self, target: Target, counter: Counter, by: i64) -> Result<AggRow, StoreError> {
        self.update_agg(target, |a| a.add(counter, by))
    }
}

impl Edit for Tx<'_> {
    fn intern_actor(&mut self, did: &str) -> Result<ActorId, StoreError> {
        names::intern_actor(self, did)
    }

    fn intern_coll(&mut self, nsid: &str) -> Result<CollId, StoreError> {
        names::intern_coll(self, nsid)
    }

    fn intern_rkey(&mut self, text: &str) -> Result<Rkey, StoreError> {
        names::intern_rkey(self, text)
    }

    fn intern_target(&mut self, subject: &str) -> Result<Option<Target>, StoreError> {
        if !subject.starts_with("at://") {
            return Ok(if crate::syntax::is_did(subject) {
                Some(Target::Actor(self.intern_actor(subject)?))
            } else {
                None
            });
        }
        let Some(uri) = crate::syntax::AtUriRef::parse(subject) else { return Ok(None) };
        let (Some(coll), Some(rkey)) = (uri.collection, uri.rkey) else { return Ok(None) };
        if !crate::syntax::is_did(uri.authority) {
            return Ok(None);
        }
        let actor = self.intern_actor(uri.authority)?;
        let (coll, rkey) = (self.intern_coll(coll)?, self.intern_rkey(rkey)?);
        Ok(Some(Target::of(RecordId { actor, coll, rkey })))
    }

    fn pack(&mut self, value: &Ipld) -> Result<Vec<u8>, StoreError> {
        packed::pack(value, &mut Interner(self))
    }

    fn pack_record(
        &mut self,
        value: &Ipld,
        cid: [u8; 32],
    ) -> Result<(Vec<u8>, Option<[u8; 32]>), StoreError> {
        let packed = self.pack(value)?;
        let given = self.packed_digest(&packed)?;
        Ok((packed, Some(cid).filter(|cid| given != Some(*cid))))
    }

    fn had_notification(&self, to: ActorId, row: &NotifRow) -> Result<bool, StoreError> {
        self.had(Ks::Notif, &row.key(to))
    }

    fn put_labels(&mut self, target: Target, labels: &[LabelRow]) {
        self.put(Ks::Label, &target.key(), &LabelRow::encode_all(labels));
    }

    fn update_agg(
        &mut self,
        target: Target,
        f: impl FnOnce(&mut AggRow),
    ) -> Result<AggRow, StoreError> {
        let key = target.key();
        self.update(Ks::Agg, &key, |old| {
            let corrupt = || StoreError::corrupt(Ks::Agg, &key);
            let old = old.map(|row| AggRow::decode(row).ok_or_else(corrupt));
            let old = old.transpose()?.unwrap_or_default();
            let mut row = old;
            f(&mut row);
            let update = match row {
                row if row == old => Update::Keep,
                row if row.is_empty() => Update::Remove,
                row => Update::Put(row.encode()),
            };
            Ok((update, row))
        })
    }
}

struct Interner<'t, 's>(&'t mut Tx<'s>);

impl packed::Intern for Interner<'_, '_> {
    fn actor(&mut self, did: &str) -> Result<ActorId, StoreError> {
        self.0.intern_actor(did)
    }
}
