//! The one integration binary: a module a subject, and `docxy` as a child process wherever a process matters.

#[cfg(test)]
mod clients;
