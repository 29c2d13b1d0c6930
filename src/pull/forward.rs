//! Without the cache: what is asked upstream for each request, and what is passed on of the answer.

mod blob;
mod manifest;
