//! Signed cards: a detached JWS over the card in its one form, and the public key to check it by.
//!
//! Owns the private key, which never leaves it. What is signed is the card as 1.0 has it, without
//! what is added for clients of 0.3 and without other signatures.

use crate::jcs::canonical;
use crate::wire::{AgentCard, AgentCardSignature};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, fs};

/// Where the public key is found, below the URL of the broker.
const KEYS: &str = "/.well-known/jwks.json";
/// Most signatures that are remembered. One of a card that is signed again would differ, and with
/// it the version of the card.
const REMEMBERED: usize = 4_096;

/// A private key that cards are signed with: P-256 (ES256) or Ed25519 (`EdDSA`). Clones are the same.
#[derive(Clone)]
pub struct SigningKey(Arc<Inner>);

struct Inner {
    path: PathBuf,
    pair: Pair,
    /// The public key as a JWK, with its name.
    public: Value,
    kid: String,
    /// Signatures by the digest of what was signed.
    made: Mutex<HashMap<[u8; 32], String>>,
}

enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// Reads the key in a file: PKCS#8 in PEM, as `openssl genpkey` writes it.
    ///
    /// # Errors
    /// What is wrong with the file, for its owner.
    pub fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text = fs::read_to_string(path).map_err(|error| format!("key {shown}: {error}"))?;
        let pair = pair(&text).map_err(|why| format!("key {shown}: {why}"))?;
        let public = pair.public();
        let kid = URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical(&public).as_bytes()));
        let mut named = public;
        for (name, value) in [("kid", kid.as_str()), ("alg", pair.algorithm()), ("use", "sig")] {
            named[name] = value.into();
        }
        let (path, made) = (path.to_owned(), Mutex::default());
        Ok(Self(Arc::new(Inner { path, pair, public: named, kid, made })))
    }

    /// Where it was read.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The public key in a set, as the clients of cards look for it.
    pub(crate) fn keys(&self) -> Value {
        json!({ "keys": [self.0.public] })
    }

    /// Signs a card of the broker that is reached at `base`.
    pub(crate) fn sign(&self, card: &mut AgentCard, base: &str) -> Result<(), String> {
        // Of others, of what the card was before.
        card.signatures.clear();
        let Inner { pair, kid, made, .. } = &*self.0;
        let jku = format!("{base}{KEYS}");
        let header = json!({"alg": pair.algorithm(), "typ": "JOSE", "kid": kid, "jku": jku});
        let protected = URL_SAFE_NO_PAD.encode(header.to_string());
        let payload = serde_json::to_value(&*card).map_err(|error| error.to_string())?;
        let input = format!("{protected}.{}", URL_SAFE_NO_PAD.encode(canonical(&payload)));
        let mut known = [0; 32];
        known.copy_from_slice(digest(&SHA256, input.as_bytes()).as_ref());
        let mut made = made.lock();
        let signature = if let Some(signature) = made.get(&known) {
            signature.clone()
        } else {
            let signature = URL_SAFE_NO_PAD.encode(pair.sign(input.as_bytes())?);
            if made.len() >= REMEMBERED {
                made.clear();
            }
            made.insert(known, signature.clone());
            signature
        };
        card.signatures.push(AgentCardSignature { protected, signature, header: None });
        Ok(())
    }
}

/// The key in the text of a file.
fn pair(text: &str) -> Result<Pair, String> {
    let (begin, end) = ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----");
    let within = text.split_once(begin).and_then(|(_, rest)| rest.split_once(end));
    let Some((within, _)) = within else {
        return Err(format!(
            "has no '{begin}'; write one with openssl genpkey -algorithm ed25519, or turn another \
             form into this with openssl pkcs8 -topk8 -nocrypt"
        ));
    };
    let encoded: String = within.chars().filter(|c| !c.is_whitespace()).collect();
    let der = STANDARD.decode(encoded).map_err(|error| format!("is no base64: {error}"))?;
    let random = SystemRandom::new();
    let p256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &random);
    match (p256, Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der)) {
        (Ok(pair), _) => Ok(Pair::P256(pair)),
        (_, Ok(pair)) => Ok(Pair::Ed25519(pair)),
        (Err(p256), Err(ed25519)) => Err(format!(
            "is neither a key of P-256 with its public half ({p256}) nor one of Ed25519 ({ed25519})"
        )),
    }
}

impl Pair {
    fn algorithm(&self) -> &'static str {
        match self {
            Self::P256(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    /// The public key with nothing but what makes up its name.
    fn public(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::P256(pair) => {
                // A byte that says that both coordinates follow.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": text(x), "y": text(y)})
            }
            Self::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref())})
            }
        }
    }

    fn sign(&self, input: &[u8]) -> Result<Vec<u8>, String> {
        match self {
            Self::P256(pair) => {
                let signed = pair.sign(&SystemRandom::new(), input);
                let signed = signed.map_err(|_unsaid| "the system has no randomness".to_owned())?;
                Ok(signed.as_ref().to_vec())
            }
            Self::Ed25519(pair) => Ok(pair.sign(input).as_ref().to_vec()),
        }
    }
}

impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        (&self.0.path, &self.0.kid) == (&other.0.path, &other.0.kid)
    }
}

impl Eq for SigningKey {}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the key.
        f.debug_struct("SigningKey").field("path", &self.0.path).field("kid", &self.0.kid).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};

    /// A key that the system made for the test, in a file.
    fn file(pkcs8: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = STANDARD.encode(pkcs8);
        let (one, other) = text.split_at(64);
        let pem =
            format!("-----BEGIN PRIVATE KEY-----\n{one}\n{other}\n-----END PRIVATE KEY-----\n");
        fs::write(file.path(), pem).unwrap();
        file
    }

    fn both() -> [tempfile::NamedTempFile; 2] {
        let random = SystemRandom::new();
        let p256 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let ed25519 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        [file(p256.as_ref()), file(ed25519.as_ref())]
    }

    fn card() -> AgentCard {
        let old = AgentCardSignature { protected: "old".into(), ..Default::default() };
        AgentCard { name: "ä".into(), signatures: vec![old], ..AgentCard::default() }
    }

    #[test]
    fn a_signature_fits_the_card_and_the_public_key_and_no_other_card() {
        for file in both() {
            let key = SigningKey::read(file.path()).unwrap();
            let mut signed = card();
            key.sign(&mut signed, "https://b").unwrap();
            let [signature] = signed.signatures.as_slice() else { panic!("{signed:?}") };
            let header = URL_SAFE_NO_PAD.decode(&signature.protected).unwrap();
            let header: Value = serde_json::from_slice(&header).unwrap();
            let known = &key.keys()["keys"][0];
            assert_eq!((&header["kid"], &header["alg"]), (&known["kid"], &known["alg"]));
            assert_eq!(header["jku"], "https://b/.well-known/jwks.json");
            let bytes = |name: &str| {
                URL_SAFE_NO_PAD.decode(known[name].as_str().unwrap_or_default()).unwrap()
            };
            let public: Vec<u8> = match known["kty"].as_str() {
                Some("EC") => [vec![4], bytes("x"), bytes("y")].concat(),
                _ => bytes("x"),
            };
            let fits = |payload: &str| {
                let input = format!("{}.{}", signature.protected, URL_SAFE_NO_PAD.encode(payload));
                let made = URL_SAFE_NO_PAD.decode(&signature.signature).unwrap();
                let (bytes, public) = (input.as_bytes(), &public);
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public)
                    .verify(bytes, &made)
                    .is_ok()
                    || UnparsedPublicKey::new(&ED25519, public).verify(bytes, &made).is_ok()
            };
            assert!(fits(r#"{"name":"ä"}"#));
            assert!(!fits(r#"{"name":"a"}"#));
        }
    }

    #[test]
    fn the_same_card_has_the_same_signature() {
        for file in both() {
            let key = SigningKey::read(file.path()).unwrap();
            let signed = |name: &str| {
                let mut card = AgentCard { name: name.into(), ..card() };
                key.sign(&mut card, "b").unwrap();
                card.signatures[0].signature.clone()
            };
            assert_eq!(signed("a"), signed("a"));
            assert_ne!(signed("a"), signed("b"));
        }
    }

    #[test]
    fn what_is_no_key_is_told_with_a_remedy_and_a_key_is_not_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let why = |text: &str| {
            fs::write(file.path(), text).unwrap();
            SigningKey::read(file.path()).unwrap_err()
        };
        assert!(why("-----BEGIN EC PRIVATE KEY-----").contains("openssl pkcs8 -topk8"));
        let pem = |within: &str| {
            format!("-----BEGIN PRIVATE KEY-----\n{within}\n-----END PRIVATE KEY-----")
        };
        assert!(why(&pem("?")).contains("is no base64"));
        assert!(why(&pem("AAAA")).contains("is neither a key of P-256"));
        let missing = SigningKey::read(Path::new("/nowhere/key.pem")).unwrap_err();
        assert!(missing.contains("/nowhere/key.pem"), "{missing}");
        let [p256, _] = both();
        let shown = format!("{:?}", SigningKey::read(p256.path()).unwrap());
        assert!(shown.contains("kid") && !shown.contains("pair"), "{shown}");
    }
}
