//! From upstream sockets to verified, ordered events.
