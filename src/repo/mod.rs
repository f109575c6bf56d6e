//! Repository structures: canonical DAG-CBOR, CAR, MST, signed commits and their verification. Pure.
