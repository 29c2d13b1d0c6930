//! docxy's own accounts: which one is asked with, what becomes of one that fails, and where they come from (A3, A4).

mod pool;
mod sources;
