//! Typed documents from YAML: a schema per kind, read with every problem reported and none guessed away.

mod cursor;
mod document;
mod fields;
mod findings;
mod fixes;
mod formats;
mod hints;
mod kinds;
mod metadata;
mod names;
mod operator;
mod paths;
mod primitives;
mod recorder;
mod regexes;
mod relocate;
mod standing;

pub(crate) use cursor::{Context, Cursor, Decode};
pub(crate) use document::{Document, OfFile, Shared, file, nodes, shape};
pub(crate) use fields::Fields;
pub(crate) use formats::{
    CidrText, DurationOrZero, HostText, NAME, Percent, Port, Share, WholePercent, is_host_name,
};
pub(crate) use kinds::{OUR_GROUPS, names as kind_names};
pub(crate) use metadata::metadata;
pub(crate) use names::{
    DnsLabel, HeaderNameText, HostOrIp, HttpUrl, NonEmpty, ServiceText, ends_in_a_number,
    is_dns_label, is_label, labels, unix_path_problem,
};
pub(crate) use paths::Paths;
pub(crate) use primitives::Count;
pub(crate) use regexes::{MAX_REGEX_SIZE, MAX_REGEX_SUM, RegexText, Regexes, RegexesOfFile};
pub(crate) use standing::Standing;
