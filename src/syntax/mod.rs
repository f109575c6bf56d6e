//! Identifiers of the protocol: DID, handle, NSID, TID, record key, AT-URI, CID, datetime. Pure; no I/O, no clock.
