//! The keys by which callers are believed.

use std::sync::Arc;

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode,
};
use redis::AsyncCommands;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    config::{AuthConfig, Secret, TokenConfig},
    contract::{AccessClaims, SessionId},
    redis::RedisClient,
};

/// Redis key that says that a session is over before its tokens are; auth sets it with the time
/// an access token lives.
pub fn revoked_key(session: SessionId) -> String {
    format!("auth:revoked:{session}")
}

/// Why an access token is not believed. The client learns only that it is not.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Not a token, another algorithm, a wrong signature, the wrong audience, or expired.
    #[error("the token is not valid")]
    Invalid(#[from] jsonwebtoken::errors::Error),
    /// Signed with a key that is not ours, or no longer.
    #[error("the token names another key")]
    UnknownKey,
    /// Its session has been ended.
    #[error("the session has been revoked")]
    Revoked,
}

/// Issues and checks access tokens, and knows the internal key and the allowed origins; a cheap
/// clone in a service's state.
#[derive(Clone)]
pub struct AuthContext(Arc<Inner>);

struct Inner {
    kid: String,
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    /// Its SHA-256.
    internal_api_key: [u8; 32],
    allowed_origins: Vec<String>,
    revoked: Option<RedisClient>,
}

impl AuthContext {
    /// With `revoked`, each token's session is looked up there; while Redis is away, or without
    /// it, a token is good until it expires.
    pub fn new(config: &AuthConfig, revoked: Option<RedisClient>) -> Self {
        Self::with_keys(
            config.jwt_secret_key.expose().as_bytes(),
            hash_of(&config.internal_api_key),
            &config.cors_allowed_origins,
            revoked,
        )
    }

    fn with_keys(
        secret: &[u8],
        internal_api_key: [u8; 32],
        allowed_origins: &[String],
        revoked: Option<RedisClient>,
    ) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[AccessClaims::AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "aud", "sub"]);
        // "Valid until exp" is what the platform promises; hosts that are a minute apart have
        // other problems.
        validation.leeway = 0;
        Self(Arc::new(Inner {
            kid: kid(secret),
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            validation,
            internal_api_key,
            allowed_origins: allowed_origins
                .iter()
                .map(|origin| origin.trim().trim_end_matches('/').to_owned())
                .collect(),
            revoked,
        }))
    }

    /// For a service that only wants to know whose a token is: it believes no other service, and
    /// looks up no session, so a revoked token keeps its user's name until it expires.
    pub fn tokens_only(config: &TokenConfig, allowed_origins: &[String]) -> Self {
        let secret = config.jwt_secret_key.expose().as_bytes();
        Self::with_keys(secret, rand::random(), allowed_origins, None)
    }

    /// For a service with users that believes no other service. With `revoked`, each token's session
    /// is looked up there.
    pub fn users_only(
        jwt_secret_key: &Secret,
        allowed_origins: &[String],
        revoked: Option<RedisClient>,
    ) -> Self {
        let secret = jwt_secret_key.expose().as_bytes();
        Self::with_keys(secret, rand::random(), allowed_origins, revoked)
    }

    /// For a service without users: it believes other services, and no token at all.
    pub fn internal_only(internal_api_key: &Secret) -> Self {
        let nobody_knows: [u8; 32] = rand::random();
        Self::with_keys(&nobody_knows, hash_of(internal_api_key), &[], None)
    }

    /// Sign an access token.
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "claims are plain data and HMAC takes any key: neither step can fail"
    )]
    pub fn issue(&self, claims: &AccessClaims) -> String {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(self.0.kid.clone());
        encode(&header, claims, &self.0.encoding).expect("claims serialize and HMAC signs")
    }

    /// Check an access token: HS256 alone, our `kid`, signature, audience, expiry, session.
    pub async fn verify(&self, token: &str) -> Result<AccessClaims, TokenError> {
        if decode_header(token)?.kid.as_deref() != Some(self.0.kid.as_str()) {
            return Err(TokenError::UnknownKey);
        }
        let claims = decode::<AccessClaims>(token, &self.0.decoding, &self.0.validation)?.claims;
        if self.is_revoked(claims.sid).await {
            return Err(TokenError::Revoked);
        }
        Ok(claims)
    }

    /// Whether claims that were verified when an answer began still hold: for answers that last
    /// longer than a token does.
    pub async fn still_holds(&self, claims: &AccessClaims) -> bool {
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        claims.exp >= now && !self.is_revoked(claims.sid).await
    }

    async fn is_revoked(&self, session: SessionId) -> bool {
        let Some(redis) = &self.0.revoked else {
            return false;
        };
        redis
            .clone()
            .exists(revoked_key(session))
            .await
            .unwrap_or_else(|error: redis::RedisError| {
                tracing::debug!(%error, "revoked sessions are not known; tokens last until exp");
                false
            })
    }

    /// Whether `key` is the internal API key. Hashes are compared, in constant time, so that
    /// neither content nor length leaks.
    pub fn is_internal_key(&self, key: &[u8]) -> bool {
        let given: [u8; 32] = Sha256::digest(key).into();
        given.ct_eq(&self.0.internal_api_key).into()
    }

    /// Whether pages of `origin` may write with cookies. `*` is an answer for CORS without
    /// credentials and allows nobody here.
    pub fn is_allowed_origin(&self, origin: &str) -> bool {
        origin != "*"
            && self
                .0
                .allowed_origins
                .iter()
                .any(|allowed| allowed == origin)
    }
}

fn hash_of(key: &Secret) -> [u8; 32] {
    Sha256::digest(key.expose()).into()
}

/// The key's public name: a change of key makes old tokens 401 with a reason in the log.
fn kid(secret: &[u8]) -> String {
    hex::encode(&Sha256::digest([b"kid:", secret].concat())[..8])
}
