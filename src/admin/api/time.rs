//! A time of day, as everybody writes it.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::openapi::schema::{KnownFormat, SchemaFormat, Type};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// In UTC, to the second: `2026-11-22T09:16:53Z`. Inside, seconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Time(pub u64);

impl Time {
    pub fn of(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error;

        let seconds = i64::try_from(self.0).map_err(S::Error::custom)?;
        let time = OffsetDateTime::from_unix_timestamp(seconds).map_err(S::Error::custom)?;
        serializer.serialize_str(&time.format(&Rfc3339).map_err(S::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;

        let text = String::deserialize(deserializer)?;
        let time = OffsetDateTime::parse(&text, &Rfc3339).map_err(D::Error::custom)?;
        u64::try_from(time.unix_timestamp())
            .map(Self)
            .map_err(D::Error::custom)
    }
}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .into()
    }
}

impl ToSchema for Time {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_everybody_reads_it() {
        // A page in another time zone must not be an hour off.
        let text = serde_json::to_string(&Time(1_795_338_000)).unwrap();
        assert_eq!(text, "\"2026-11-22T09:00:00Z\"");
        assert_eq!(serde_json::from_str::<Time>(&text).unwrap(), Time(1_795_338_000));
        assert_eq!(
            serde_json::from_str::<Time>("\"2026-11-22T10:00:00+01:00\"").unwrap(),
            Time(1_795_338_000)
        );
        assert!(serde_json::to_string(&Time(u64::MAX)).is_err());
    }
}
