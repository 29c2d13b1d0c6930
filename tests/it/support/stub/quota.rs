//! Pull limits in the manner of Docker Hub: GET of a manifest counts, HEAD does not; both show the state.

use super::{journal::Seen, reply::Reply, state::State};

pub(super) fn charge(
    state: &State,
    seen: &Seen,
    user: Option<&str>,
    answer: impl FnOnce() -> Reply,
) -> Reply {
    let Some(quota) = state.options.quota else {
        return answer();
    };
    let source = user.map_or_else(|| seen.from.to_string(), str::to_owned);
    let limit = if user.is_some() {
        quota.signed_in
    } else {
        quota.anonymous
    };
    let (refused, remaining) = {
        let mut pulls = state.pulls.lock().unwrap();
        let used = pulls.entry(source.clone()).or_default();
        let counts = seen.method == "GET";
        let refused = counts && *used >= limit;
        if counts && !refused {
            *used += 1;
        }
        (refused, limit.saturating_sub(*used))
    };
    let reply = if refused {
        let reply = Reply::error(
            429,
            "TOOMANYREQUESTS",
            "scripted registry: you have reached your pull rate limit",
        );
        match quota.retry_after {
            Some(seconds) => reply.header("retry-after", seconds.to_string()),
            None => reply,
        }
    } else {
        answer()
    };
    reply
        .header("ratelimit-limit", format!("{limit};w=21600"))
        .header("ratelimit-remaining", format!("{remaining};w=21600"))
        .header("docker-ratelimit-source", source)
}
