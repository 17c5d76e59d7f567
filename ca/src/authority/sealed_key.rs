//! A private key at rest: PKCS #8 in PEM, or the same sealed with a passphrase.
//!
//! The sealed form is argon2id (64 MiB, 3 passes) over the passphrase, then AES-256-GCM; the
//! parameters stand before the ciphertext and are authenticated with it.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use zeroize::Zeroizing;

const PLAIN_LABEL: &str = "PRIVATE KEY";
const SEALED_LABEL: &str = "PORTCULLIS SEALED KEY";
const MAGIC: &[u8; 8] = b"pcskey1\0";
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
/// Magic, memory, passes, salt, nonce.
const HEADER_BYTES: usize = 8 + 4 + 4 + SALT_BYTES + NONCE_BYTES;

/// What a file may ask of us before its authenticity is known.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
const MAX_PASSES: u32 = 16;

/// The shortest passphrase that is accepted, in bytes.
pub const MIN_PASSPHRASE_BYTES: usize = 12;

/// Why a private key could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No key block in the file.
    #[error("no `{PLAIN_LABEL}` or `{SEALED_LABEL}` block was found")]
    Missing,
    /// The block is damaged.
    #[error("the private key is damaged or not P-256 in PKCS #8")]
    Damaged,
    /// The key is sealed and no passphrase is configured.
    #[error("the private key is sealed; name its passphrase in `keys.passphraseFile`")]
    PassphraseNeeded,
    /// The passphrase does not open the key, or the file was changed.
    #[error("the passphrase does not open the private key, or the file was changed")]
    WrongPassphrase,
    /// Shorter than [`MIN_PASSPHRASE_BYTES`].
    #[error("the passphrase has {0} bytes; at least {MIN_PASSPHRASE_BYTES} are needed")]
    ShortPassphrase(usize),
    /// Key derivation or encryption failed.
    #[error("the key could not be sealed")]
    Seal,
}

/// What opens sealed keys; masked and zeroised.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

impl Passphrase {
    /// Takes the content of a passphrase file; one line end at its end does not count.
    pub fn new(mut content: Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        if content.last() == Some(&b'\n') {
            content.pop();
        }
        if content.last() == Some(&b'\r') {
            content.pop();
        }
        if content.len() < MIN_PASSPHRASE_BYTES {
            return Err(KeyError::ShortPassphrase(content.len()));
        }
        Ok(Self(content))
    }
}

/// How a key lies in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyForm {
    /// Readable by whoever can read the file.
    Plain,
    /// Useless without the passphrase.
    Sealed,
}

/// A P-256 key and the form in which it was found.
#[derive(Debug)]
pub struct StoredKey {
    /// The key, ready to sign.
    pub pair: KeyPair,
    /// How it was found.
    pub form: KeyForm,
}

/// Makes a P-256 key.
pub fn generate() -> Result<KeyPair, KeyError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|_| KeyError::Seal)
}

/// Finds the key block in `text` and opens it.
pub fn read(text: &[u8], passphrase: Option<&Passphrase>) -> Result<StoredKey, KeyError> {
    let blocks = pem::parse_many(text).map_err(|_| KeyError::Damaged)?;
    let block = blocks
        .iter()
        .find(|block| [PLAIN_LABEL, SEALED_LABEL].contains(&block.tag()))
        .ok_or(KeyError::Missing)?;
    let (pkcs8, form) = if block.tag() == SEALED_LABEL {
        let passphrase = passphrase.ok_or(KeyError::PassphraseNeeded)?;
        (unseal(block.contents(), passphrase)?, KeyForm::Sealed)
    } else {
        (Zeroizing::new(block.contents().to_vec()), KeyForm::Plain)
    };
    let der = rustls_pki_types::PrivatePkcs8KeyDer::from(pkcs8.as_slice());
    let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256)
        .map_err(|_| KeyError::Damaged)?;
    Ok(StoredKey { pair, form })
}

/// The file form of `pair`: sealed if there is a passphrase.
pub fn write(
    pair: &KeyPair,
    passphrase: Option<&Passphrase>,
) -> Result<Zeroizing<String>, KeyError> {
    let block = match passphrase {
        Some(passphrase) => pem::Pem::new(SEALED_LABEL, seal(pair.serialized_der(), passphrase)?),
        None => pem::Pem::new(PLAIN_LABEL, pair.serialized_der()),
    };
    Ok(Zeroizing::new(pem::encode(&block)))
}

fn seal(pkcs8: &[u8], passphrase: &Passphrase) -> Result<Vec<u8>, KeyError> {
    let mut random = [0_u8; SALT_BYTES + NONCE_BYTES];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| KeyError::Seal)?;
    let mut out = Vec::with_capacity(HEADER_BYTES + pkcs8.len() + 16);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&MEMORY_KIB.to_be_bytes());
    out.extend_from_slice(&PASSES.to_be_bytes());
    out.extend_from_slice(&random);
    let header = Header::parse(&out).ok_or(KeyError::Seal)?;
    let key = header.derive(passphrase)?;
    let mut body = pkcs8.to_vec();
    let tag = key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(header.nonce),
            Aad::from(out.as_slice()),
            &mut body,
        )
        .map_err(|_| KeyError::Seal)?;
    out.extend_from_slice(&body);
    out.extend_from_slice(tag.as_ref());
    Ok(out)
}

fn unseal(sealed: &[u8], passphrase: &Passphrase) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let header = Header::parse(sealed).ok_or(KeyError::Damaged)?;
    let (aad, body) = sealed
        .split_at_checked(HEADER_BYTES)
        .ok_or(KeyError::Damaged)?;
    let key = header.derive(passphrase)?;
    let mut plain = Zeroizing::new(body.to_vec());
    let length = key
        .open_in_place(
            Nonce::assume_unique_for_key(header.nonce),
            Aad::from(aad),
            &mut plain,
        )
        .map_err(|_| KeyError::WrongPassphrase)?
        .len();
    plain.truncate(length);
    Ok(plain)
}

struct Header {
    memory_kib: u32,
    passes: u32,
    salt: [u8; SALT_BYTES],
    nonce: [u8; NONCE_BYTES],
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (memory, rest) = rest.split_first_chunk::<4>()?;
        let (passes, rest) = rest.split_first_chunk::<4>()?;
        let (salt, rest) = rest.split_first_chunk::<SALT_BYTES>()?;
        let (nonce, _) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let memory_kib = u32::from_be_bytes(*memory);
        let passes = u32::from_be_bytes(*passes);
        let affordable = (1..=MAX_PASSES).contains(&passes) && memory_kib <= MAX_MEMORY_KIB;
        affordable.then_some(Self {
            memory_kib,
            passes,
            salt: *salt,
            nonce: *nonce,
        })
    }

    fn derive(&self, passphrase: &Passphrase) -> Result<LessSafeKey, KeyError> {
        let params = argon2::Params::new(self.memory_kib, self.passes, 1, Some(32))
            .map_err(|_| KeyError::Damaged)?;
        let argon =
            argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
        let mut key = Zeroizing::new([0_u8; 32]);
        argon
            .hash_password_into(&passphrase.0, &self.salt, key.as_mut_slice())
            .map_err(|_| KeyError::Seal)?;
        let key = UnboundKey::new(&AES_256_GCM, key.as_slice()).map_err(|_| KeyError::Seal)?;
        Ok(LessSafeKey::new(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.as_bytes().to_vec())).unwrap()
    }

    #[test]
    fn a_plain_key_reads_back() {
        let pair = generate().unwrap();
        let text = write(&pair, None).unwrap();
        let stored = read(text.as_bytes(), None).unwrap();
        assert_eq!(stored.form, KeyForm::Plain);
        assert_eq!(stored.pair.public_key_raw(), pair.public_key_raw());
    }

    #[test]
    fn a_sealed_key_needs_its_passphrase() {
        let pair = generate().unwrap();
        let text = write(&pair, Some(&passphrase("correct horse battery\n"))).unwrap();
        assert!(!text.contains(PLAIN_LABEL));
        let stored = read(text.as_bytes(), Some(&passphrase("correct horse battery"))).unwrap();
        assert_eq!(stored.form, KeyForm::Sealed);
        assert_eq!(stored.pair.public_key_raw(), pair.public_key_raw());
        assert!(matches!(
            read(text.as_bytes(), None),
            Err(KeyError::PassphraseNeeded)
        ));
        let wrong = read(text.as_bytes(), Some(&passphrase("correct horse cattery")));
        assert!(matches!(wrong, Err(KeyError::WrongPassphrase)));
    }

    #[test]
    fn a_changed_header_is_noticed() {
        let pair = generate().unwrap();
        let phrase = passphrase("correct horse battery");
        let mut sealed = seal(pair.serialized_der(), &phrase).unwrap();
        sealed[16] ^= 1; // the salt
        assert!(matches!(
            unseal(&sealed, &phrase),
            Err(KeyError::WrongPassphrase)
        ));
        sealed[8] = 0xff; // four tebibytes of memory
        assert!(matches!(unseal(&sealed, &phrase), Err(KeyError::Damaged)));
    }

    #[test]
    fn a_short_passphrase_is_refused() {
        let error = Passphrase::new(Zeroizing::new(b"short\n".to_vec())).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the passphrase has 5 bytes; at least 12 are needed"
        );
    }
}
