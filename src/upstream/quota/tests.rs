use super::*;
use http::HeaderValue;

fn quota() -> Quota {
    Quota::new(&RegistryName::parse("r.test").unwrap(), "alice")
}

fn headers(fields: &[(&'static str, String)]) -> HeaderMap {
    let fields = fields
        .iter()
        .map(|(name, value)| ((*name).parse().unwrap(), HeaderValue::from_str(value).unwrap()));
    fields.collect()
}

fn figures(limit: u64, remaining: u64) -> HeaderMap {
    headers(&[
        ("ratelimit-limit", format!("{limit};w=21600")),
        ("ratelimit-remaining", format!("{remaining};w=21600")),
        ("docker-ratelimit-source", "192.0.2.7".to_owned()),
    ])
}

const OK: StatusCode = StatusCode::OK;
const PLENTY: Left = Left::Plenty(Reverse(0));
const LIMITED: StatusCode = StatusCode::TOO_MANY_REQUESTS;

fn seconds(wait: u64) -> Leave {
    Leave::Wait(Duration::from_secs(wait))
}

async fn pass(wait: u64) {
    tokio::time::advance(Duration::from_secs(wait)).await;
}

#[tokio::test(start_paused = true)]
async fn the_one_with_the_most_left_is_the_best() {
    // The order decides which account pays: one that is not known, then by what is left, the empty ones last.
    let with = |note: &dyn Fn(&Quota)| {
        let quota = quota();
        note(&quota);
        quota.left()
    };
    let order = [
        with(&|quota| quota.note(LIMITED, &figures(100, 0), Cost::Counted)),
        with(&|quota| quota.note(LIMITED, &HeaderMap::new(), Cost::Counted)),
        with(&|quota| quota.note(OK, &figures(100, 5), Cost::Counted)),
        with(&|quota| quota.note(OK, &figures(100, 80), Cost::Shown)),
        with(&|quota| quota.note(OK, &figures(200, 190), Cost::Counted)),
        with(&|_| {}),
    ];
    assert!(order.is_sorted(), "{order:?}");
    // In steps, so that a pull and its layers go with one token; exact where little is left.
    let left = |remaining| with(&|quota| quota.note(OK, &figures(100, remaining), Cost::Counted));
    assert_eq!(left(89), left(80));
    assert!(left(80) > left(79) && left(9) > left(8));
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_is_counted() {
    // Fifty pulls that begin together must not all count on the last ten of one account.
    let quota = quota();
    quota.note(OK, &figures(100, 50), Cost::Counted);
    let under_way: Vec<_> = (0..45).map(|_| quota.set_out(Cost::Counted)).collect();
    let _free = quota.set_out(Cost::Shown);
    assert_eq!(quota.left(), Left::Some(5));
    drop(under_way);
    assert_eq!(quota.left(), Left::Some(50));
    // Also of those of which nothing is known yet.
    let (one, other) = (self::quota(), self::quota());
    let _ten: Vec<_> = (0..10).map(|_| one.set_out(Cost::Counted)).collect();
    assert!(one.left() < other.left());
}

#[tokio::test(start_paused = true)]
async fn an_empty_one_is_asked_once_a_minute() {
    // The window slides: somebody must find out that something is back, but not everybody.
    let quota = quota();
    quota.note(OK, &figures(100, 0), Cost::Counted);
    // The first question hears from the registry what holds.
    assert_eq!(quota.leave(Cost::Counted), Leave::Ask);
    assert_eq!(quota.leave(Cost::Counted), seconds(60));
    quota.note(LIMITED, &figures(100, 0), Cost::Counted);
    pass(59).await;
    assert_eq!(quota.leave(Cost::Counted), seconds(1));
    assert_eq!(quota.leave(Cost::Shown), Leave::Ask);
    assert_eq!(quota.leave(Cost::Nothing), Leave::Ask);
    pass(1).await;
    assert_eq!(quota.leave(Cost::Counted), Leave::Ask);
    assert_eq!(quota.leave(Cost::Counted), seconds(60));
    // A HEAD shows that something is back.
    quota.note(OK, &figures(100, 1), Cost::Shown);
    assert_eq!(quota.leave(Cost::Counted), Leave::Ask);
    assert_eq!(quota.leave(Cost::Counted), Leave::Ask);
}

#[tokio::test(start_paused = true)]
async fn stays_away_as_long_as_it_was_told() {
    // A registry that says "in ten minutes" and is asked every minute bans whoever asks. One that says "in ten years" is asked
    // again all the same.
    for (said, wait) in [("600", 600), ("86400", 3600), ("99999999999999", 3600)] {
        for mut fields in [figures(100, 0), HeaderMap::new()] {
            fields.insert("retry-after", HeaderValue::from_str(said).unwrap());
            let quota = quota();
            quota.note(LIMITED, &fields, Cost::Counted);
            assert_eq!(quota.left(), Left::Nothing);
            assert_eq!(quota.leave(Cost::Counted), seconds(wait), "{said}");
            assert_eq!(quota.leave(Cost::Shown), Leave::Ask);
            pass(wait).await;
            assert_eq!(quota.leave(Cost::Counted), Leave::Ask);
        }
    }
    // What is left on paper is no use while another limiter holds.
    let quota = quota();
    quota.note(
        LIMITED,
        &headers(&[("retry-after", "600".to_owned())]),
        Cost::Counted,
    );
    quota.note(OK, &figures(100, 90), Cost::Shown);
    assert_eq!(quota.leave(Cost::Counted), seconds(600));
    pass(600).await;
    assert_eq!(quota.leave(Cost::Counted), Leave::Ask);
    quota.note(OK, &figures(100, 89), Cost::Counted);
    assert_eq!(quota.left(), Left::Some(80));
}

#[tokio::test(start_paused = true)]
async fn a_limiter_of_abuse_gets_a_short_rest() {
    // 429 without figures: fewer requests help, a closed door for hours does not.
    let quota = quota();
    let limited = || quota.note(LIMITED, &HeaderMap::new(), Cost::Shown);
    limited();
    assert_eq!(quota.left(), Left::Slowed);
    assert_eq!(quota.leave(Cost::Shown), Leave::Ask, "once may be chance");
    for wait in [1, 2, 4, 8, 16, 30, 30] {
        limited();
        assert_eq!(quota.leave(Cost::Counted), seconds(wait));
        assert_eq!(quota.leave(Cost::Shown), seconds(wait));
        assert_eq!(quota.leave(Cost::Nothing), Leave::Ask);
        pass(wait).await;
        assert_eq!(quota.leave(Cost::Counted), Leave::Ask);
    }
    quota.note(OK, &figures(100, 9), Cost::Counted);
    limited();
    assert_eq!(quota.leave(Cost::Counted), Leave::Ask, "it began anew");
}

#[tokio::test(start_paused = true)]
async fn a_report_claims_no_more_than_is_known() {
    // Docker's window slides: when something comes back nobody says, only by when all of it is back.
    let quota = quota();
    assert_eq!(quota.report(), None);
    quota.note(OK, &figures(100, 100), Cost::Shown);
    assert_eq!(quota.report().unwrap().full_in, None, "nothing was taken");
    quota.note(OK, &figures(100, 60), Cost::Counted);
    pass(600).await;
    quota.note(OK, &figures(100, 60), Cost::Shown);
    pass(60).await;
    let report = quota.report().unwrap();
    assert_eq!((report.limit, report.remaining), (100, 60));
    assert_eq!(report.seen, Duration::from_mins(1));
    assert_eq!(report.source.as_deref(), Some("192.0.2.7"));
    assert_eq!(report.full_in, Some(Duration::from_mins(349)));
    // Forty in eleven minutes: sixty in sixteen and a half.
    assert_eq!(report.empty_in.map(|wait| wait.as_secs()), Some(990));
    // A whole window without a word: it is as good as new.
    pass(21_600).await;
    assert_eq!((quota.report(), quota.left()), (None, PLENTY));
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_before_it_ends_never_ends() {
    // Ten pulls in an hour of a hundred in six hours last for ever.
    let quota = quota();
    for n in 0..10 {
        quota.note(OK, &figures(100, 100 - n), Cost::Counted);
        pass(360).await;
    }
    assert_eq!(quota.report().unwrap().empty_in, None);
}

#[tokio::test(start_paused = true)]
async fn who_pays_is_not_limited() {
    // An account that was upgraded must not be held back by what was said before.
    let quota = quota();
    quota.note(LIMITED, &figures(100, 0), Cost::Counted);
    quota.note(OK, &HeaderMap::new(), Cost::Nothing);
    assert_eq!(quota.left(), Left::Nothing, "a blob tells nothing");
    quota.note(OK, &HeaderMap::new(), Cost::Shown);
    assert_eq!((quota.left(), quota.report()), (PLENTY, None));
}
