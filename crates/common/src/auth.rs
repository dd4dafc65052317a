//! Who is asking, as extractors: a handler's signature is its policy.

mod context;
mod extractors;

pub use context::{AuthContext, TokenError, revoked_key};
pub use extractors::{Admin, Internal, OptionalUser, User, X_INTERNAL_API_KEY};
