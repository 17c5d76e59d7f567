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
mod relocate;
mod standing;

pub(crate) use cursor::{Context, Cursor, Decode};
pub(crate) use document::{Document, file, shape};
pub(crate) use fields::Fields;
pub(crate) use formats::{
    CidrText, DurationOrZero, HostText, MAX_REGEX_SIZE, NAME, Percent, Port, RegexBudget,
    RegexText, Share, WholePercent, is_host_name, whole_text_regex,
};
pub(crate) use kinds::{OUR_GROUPS, names as kind_names};
pub(crate) use names::{
    DnsLabel, HeaderNameText, HostOrIp, HttpUrl, NonEmpty, ServiceText, ends_in_a_number,
    is_dns_label, is_label, labels, unix_path_problem,
};
pub(crate) use paths::Paths;
pub(crate) use primitives::Count;
pub(crate) use standing::Standing;
