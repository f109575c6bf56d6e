//! Compiled lexicon schemas: validation of records, of call parameters, inputs and outputs. Pure.
