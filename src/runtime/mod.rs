//! Start and stop order; which part talks to which.
