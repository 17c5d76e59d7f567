//! RequestAuthentication (`security.istio.io`): which tokens are accepted, and how they are checked.

use std::time::Duration;

use super::{Attachment, Meta, Spanned};
use crate::decode::{Cursor, Decode, Document, Fields, HeaderNameText, HttpUrl, NonEmpty};
use crate::diagnostic::{DocPath, codes};
use crate::source::Location;

/// Largest number of rules (Istio's limit).
const MAX_RULES: usize = 4096;

/// Istio's RequestAuthentication.
#[derive(Clone, Debug)]
pub struct RequestAuthentication {
    /// What it is called.
    pub meta: Meta,
    /// `spec.selector`, `spec.targetRefs` or `spec.targetRef`.
    pub attachment: Attachment,
    /// `spec.jwtRules`.
    pub jwt_rules: Vec<JwtRule>,
}

/// Istio's `JWTRule`.
#[derive(Clone, Debug)]
pub struct JwtRule {
    /// Where it stands.
    pub at: Location,
    /// Where it stands in its document.
    pub path: DocPath,
    /// `issuer`: the `iss` of accepted tokens; without it any issuer whose key fits.
    pub issuer: Option<Spanned<String>>,
    /// `audiences`: one of them has to be in `aud`; empty accepts any.
    pub audiences: Vec<Spanned<String>>,
    /// `jwksUri`: where the keys are; without it and `jwks` they are found by OpenID Connect discovery.
    pub jwks_uri: Option<Spanned<String>>,
    /// `jwks`: the keys themselves, a JSON Web Key Set.
    pub jwks: Option<Spanned<String>>,
    /// `fromHeaders`: replaces the default `Authorization: Bearer`.
    pub from_headers: Vec<JwtHeader>,
    /// `fromParams`: query parameters; replaces the default `access_token`.
    pub from_params: Vec<Spanned<String>>,
    /// `fromCookies`.
    pub from_cookies: Vec<Spanned<String>>,
    /// `outputPayloadToHeader`: the request header that gets the payload as base64url.
    pub output_payload_to_header: Option<Spanned<String>>,
    /// `outputClaimToHeaders`: request headers that get one claim each.
    pub output_claim_to_headers: Vec<ClaimToHeader>,
    /// `forwardOriginalToken`: the application gets the token; default false.
    pub forward_original_token: bool,
    /// `timeout` of fetching the keys, default 5s.
    pub timeout: Option<Duration>,
    /// `spaceDelimitedClaims`: further claims that are lists in one text, as `scope` is.
    pub space_delimited_claims: Vec<String>,
}

/// One of `fromHeaders`.
#[derive(Clone, Debug, PartialEq)]
pub struct JwtHeader {
    /// `name`.
    pub name: Spanned<String>,
    /// `prefix` before the token, such as `Bearer `; stripped.
    pub prefix: String,
}

/// One of `outputClaimToHeaders`.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimToHeader {
    /// `header`.
    pub header: Spanned<String>,
    /// `claim`; `.` separates nested ones.
    pub claim: Spanned<String>,
}

impl Document for RequestAuthentication {
    fn spec(meta: Meta, f: &mut Fields<'_>) -> Option<Self> {
        let attachment = Attachment::read(f, &["targetRefs", "targetRef"]);
        let jwt_rules: Vec<JwtRule> = f.list("jwtRules");
        if jwt_rules.len() > MAX_RULES {
            let message = format!("more than {MAX_RULES} `jwtRules`");
            f.cursor().error(codes::INVALID_LENGTH, message, None);
        }
        Some(Self {
            meta,
            attachment,
            jwt_rules,
        })
    }
}

impl Decode for JwtRule {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let issuer = texts(f.optional::<Spanned<NonEmpty>>("issuer"));
            let audiences = texts(f.list::<Spanned<NonEmpty>>("audiences"));
            let jwks_uri = f.optional::<Spanned<HttpUrl>>("jwksUri");
            let jwks_uri = f.optional("jwks_uri").or(jwks_uri);
            let jwks = f.optional::<Spanned<JwkSet>>("jwks");
            f.exclusive(&["jwksUri", "jwks_uri", "jwks"]);
            f.any_of(&["issuer", "jwksUri", "jwks_uri"]);
            let from_headers = f.list("fromHeaders");
            let from_params = texts(f.list::<Spanned<NonEmpty>>("fromParams"));
            let from_cookies = texts(f.list::<Spanned<NonEmpty>>("fromCookies"));
            let output_payload_to_header =
                f.optional::<Spanned<HeaderNameText>>("outputPayloadToHeader");
            let output_claim_to_headers = f.list("outputClaimToHeaders");
            let forward_original_token = f.or_default("forwardOriginalToken");
            let timeout = f.optional("timeout");
            let space_delimited_claims = f.list::<NonEmpty>("spaceDelimitedClaims");
            Some(Self {
                at: f.cursor().at(),
                path: f.cursor().path.clone(),
                issuer: issuer.into_iter().next(),
                audiences,
                jwks_uri: jwks_uri.map(|uri| uri.map(|HttpUrl(text)| text)),
                jwks: jwks.map(|keys| keys.map(|JwkSet(text)| text)),
                from_headers,
                from_params,
                from_cookies,
                output_payload_to_header: output_payload_to_header
                    .map(|name| name.map(|HeaderNameText(text)| text)),
                output_claim_to_headers,
                forward_original_token,
                timeout,
                space_delimited_claims: space_delimited_claims
                    .into_iter()
                    .map(|NonEmpty(text)| text)
                    .collect(),
            })
        })
    }
}

fn texts(found: impl IntoIterator<Item = Spanned<NonEmpty>>) -> Vec<Spanned<String>> {
    let plain = |text: Spanned<NonEmpty>| text.map(|NonEmpty(text)| text);
    found.into_iter().map(plain).collect()
}

impl Decode for JwtHeader {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let name = f.required::<Spanned<HeaderNameText>>("name");
            let prefix = f.or_default("prefix");
            Some(Self {
                name: name?.map(|HeaderNameText(text)| text),
                prefix,
            })
        })
    }
}

impl Decode for ClaimToHeader {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let header = f.required::<Spanned<HeaderNameText>>("header");
            let claim = f.required::<Spanned<NonEmpty>>("claim");
            Some(Self {
                header: header?.map(|HeaderNameText(text)| text),
                claim: claim?.map(|NonEmpty(text)| text),
            })
        })
    }
}

/// The text of a JSON Web Key Set (RFC 7517): an object whose `keys` is a list of objects with `kty`.
struct JwkSet(String);

impl Decode for JwkSet {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(text);
        let keys = parsed
            .as_ref()
            .ok()
            .and_then(|set| set.get("keys")?.as_array());
        let is_key =
            |key: &serde_json::Value| key.get("kty").is_some_and(serde_json::Value::is_string);
        match keys {
            Some(keys) if keys.iter().all(is_key) => Some(Self(text.to_owned())),
            _ => {
                let help = "write a JSON object: `{\"keys\": [{\"kty\": \"RSA\", …}]}`";
                cursor.error(
                    codes::INVALID_VALUE,
                    "`jwks` is not a JSON Web Key Set",
                    Some(help.to_owned()),
                );
                None
            }
        }
    }
}
