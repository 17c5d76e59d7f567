//! Istio's `mirror` and `mirrors`: copies of requests that nobody waits for.

use crate::decode::{Cursor, Decode, Fields, Percent, WholePercent};
use crate::diagnostic::codes;
use crate::document::{Destination, Spanned};

/// Istio's `HTTPMirrorPolicy`, also `mirror` with its percentage.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// `destination`.
    pub destination: Destination,
    /// `percentage.value`, 0 to 100; 100 if not given.
    pub percentage: f64,
}

impl Decode for Mirror {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let destination = f.required("destination");
            let share = f.optional::<Percent>("percentage");
            Some(Self {
                destination: destination?,
                percentage: share.map_or(100.0, |Percent(share)| share),
            })
        })
    }
}

/// Every field of a rule that is about mirrors.
pub(super) fn read_mirrors(f: &mut Fields<'_>) -> Vec<Spanned<Mirror>> {
    let mirror = f.optional::<Spanned<Destination>>("mirror");
    let share = f.optional::<Percent>("mirrorPercentage");
    let beside = f.has("mirrorPercentage");
    let mut old = None;
    for field in ["mirrorPercent", "mirror_percent"] {
        let Some(cursor) = f.get(field) else { continue };
        if let Some(WholePercent(share)) = WholePercent::decode(&cursor) {
            let newer = format!("mirrorPercentage: {{value: {share}}}");
            cursor.deprecated_shape(field, "mirrorPercentage", Some(&newer), beside);
            old = Some(f64::from(share));
        }
    }
    let shares = ["mirrorPercentage", "mirrorPercent", "mirror_percent"];
    if let Some(field) = shares.into_iter().find(|field| f.has(field))
        && !f.has("mirror")
    {
        let message = format!("`{field}` without `mirror` mirrors nothing");
        f.warn_at(field, codes::FIELD_WITHOUT_EFFECT, message, None);
    }
    let mut mirrors: Vec<Spanned<Mirror>> = f.list("mirrors");
    let percentage = share.map(|Percent(share)| share).or(old).unwrap_or(100.0);
    mirrors.extend(mirror.map(|mirror| {
        mirror.map(|destination| Mirror {
            destination,
            percentage,
        })
    }));
    mirrors
}
