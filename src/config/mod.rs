//! Configuration: the option table, files, environment, checks.
