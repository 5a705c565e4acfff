//! Users with passwords, tokens and rights, and the nodes of the cluster.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::Argon2;
use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use serde::Deserialize;

use crate::error::{Error, Result};

/// A session token that is not used for this long is deleted.
const TOKEN_IDLE_MAX: Duration = Duration::from_secs(24 * 3600);

/// The maximum number of session tokens.
const TOKENS_MAX: usize = 16_384;

/// The maximum length of a password or token in bytes. A longer one is refused without a check.
const SECRET_BYTES_MAX: usize = 1024;

/// The identity of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The user's name. `None` for a node, and if there are no users.
    pub(crate) user: Option<String>,
    /// Whether it may query.
    pub(crate) may_query: bool,
    /// Whether it may train, and make other changes.
    pub(crate) may_train: bool,
    /// Whether it is a node of the cluster.
    pub(crate) is_node: bool,
    /// The key of its session: a session token or a connection.
    pub(crate) session: String,
}

impl Identity {
    /// Returns the identity of every client if there are no users.
    pub(crate) fn anybody(session: String) -> Self {
        Self { user: None, may_query: true, may_train: true, is_node: false, session }
    }

    /// Returns the identity of a node of the cluster.
    pub(crate) fn node(session: String) -> Self {
        Self { user: None, may_query: true, may_train: true, is_node: true, session }
    }
}

/// The content of the users' file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UsersFile {
    users: HashMap<String, User>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    /// An argon2 hash, as printed by `tusk-scheduler --hash-password`.
    password: Option<String>,
    /// The BLAKE3 hash of a bearer token in hexadecimal, as printed by `tusk-scheduler --new-token`.
    token: Option<String>,
    #[serde(default)]
    rights: Vec<Right>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("rights", &self.rights).finish_non_exhaustive()
    }
}

/// A right of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Right {
    /// Read tables and models.
    Query,
    /// Train models, and make other changes.
    Train,
}

impl Right {
    /// The name in the users' file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Train => "train",
        }
    }
}

struct Token {
    user: String,
    used: Instant,
}

/// Checks passwords and tokens.
pub(crate) struct Users {
    users: HashMap<String, User>,
    /// The session tokens that handshakes returned.
    tokens: Mutex<HashMap<String, Token>>,
    /// A hash that is verified if the user does not exist, so that a refusal takes the same time.
    decoy: String,
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Omits the hashes and the session tokens.
        f.debug_struct("Users").field("users", &self.users).finish_non_exhaustive()
    }
}

impl Users {
    /// Reads the users' file.
    ///
    /// # Errors
    /// [`Error::Cluster`] if it cannot be read or has an invalid entry.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let failed =
            |reason: String| Error::Cluster { reason: format!("the users' file {}: {reason}", path.display()) };
        let text = std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
        // The full text of a TOML error contains the line, which may contain a hash.
        let file: UsersFile = toml::from_str(&text).map_err(|e| failed(e.message().to_owned()))?;
        for (name, user) in &file.users {
            if let Some(hash) = &user.password {
                PasswordHash::new(hash).map_err(|e| failed(format!("the password hash of {name}: {e}")))?;
            }
            if user.token.as_ref().is_some_and(|token| token.len() != 64) {
                return Err(failed(format!("invalid token of {name}: expected a BLAKE3 hash in hexadecimal")));
            }
        }
        Ok(Self { users: file.users, tokens: Mutex::default(), decoy: hash_password("")? })
    }

    /// Checks a password and returns a token for a new session. Takes tens of milliseconds on purpose, so it must run
    /// on a thread that may block.
    pub(crate) fn log_in(&self, name: &str, password: &str) -> Option<String> {
        if password.len() > SECRET_BYTES_MAX {
            return None;
        }
        let user = self.users.get(name);
        let hash = user.and_then(|user| user.password.as_ref());
        let form = PasswordHash::new(hash.unwrap_or(&self.decoy)).ok()?;
        Argon2::default().verify_password(password.as_bytes(), &form).ok()?;
        hash?;
        let token = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, token| token.used.elapsed() < TOKEN_IDLE_MAX);
        if tokens.len() >= TOKENS_MAX {
            return None;
        }
        tokens.insert(token.clone(), Token { user: name.to_owned(), used: Instant::now() });
        Some(token)
    }

    /// Returns the identity of the owner of a bearer token. `connection` distinguishes the sessions of a token from the
    /// users' file.
    pub(crate) fn bearer(&self, token: &str, connection: &str) -> Option<Identity> {
        if token.len() > SECRET_BYTES_MAX {
            return None;
        }
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = tokens.get_mut(token).filter(|known| known.used.elapsed() < TOKEN_IDLE_MAX) {
            known.used = Instant::now();
            return self.identity(&known.user, format!("login {}", blake3::hash(token.as_bytes()).to_hex()));
        }
        drop(tokens);
        // Compares hashes, so the time of the comparison reveals nothing about the token.
        let hash = blake3::hash(token.as_bytes());
        let fits = |user: &User| {
            let stored = user.token.as_ref().and_then(|hex| blake3::Hash::from_hex(hex).ok());
            stored.is_some_and(|stored| stored == hash)
        };
        let (name, _) = self.users.iter().find(|(_, user)| fits(user))?;
        self.identity(name, format!("token of {name} at {connection}"))
    }

    fn identity(&self, name: &str, session: String) -> Option<Identity> {
        let user = self.users.get(name)?;
        let may_train = user.rights.contains(&Right::Train);
        Some(Identity { user: Some(name.to_owned()), may_query: true, may_train, is_node: false, session })
    }
}

/// Returns the argon2id hash of a password, with a new random salt.
///
/// # Errors
/// [`Error::Password`] if the library refuses the password.
pub(crate) fn hash_password(password: &str) -> Result<String> {
    let salt = SaltString::generate(&mut OsRng);
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
    Ok(hash.map_err(|e| Error::Password { reason: e.to_string() })?.to_string())
}

/// Returns a new bearer token and its hash for the users' file.
pub(crate) fn new_token() -> (String, String) {
    let token = format!("tusk-{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    let hash = blake3::hash(token.as_bytes()).to_hex().to_string();
    (token, hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> (Users, String) {
        let (token, hash) = new_token();
        let password = hash_password("open sesame").unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = format!(
            "[users.alice]\npassword = \"{password}\"\nrights = [\"query\", \"train\"]\n\
             [users.report]\ntoken = \"{hash}\"\nrights = [\"query\"]\n"
        );
        std::fs::write(file.path(), text).unwrap();
        (Users::read(file.path()).unwrap(), token)
    }

    #[test]
    fn a_password_opens_a_session_and_a_wrong_one_does_not() {
        let (users, _) = users();
        let token = users.log_in("alice", "open sesame").unwrap();
        let identity = users.bearer(&token, "1.2.3.4:5").unwrap();
        assert_eq!((identity.user.as_deref(), identity.may_train), (Some("alice"), true));
        assert_eq!(users.bearer(&token, "another connection").unwrap().session, identity.session);
        for (name, password) in [("alice", "open"), ("bob", "open sesame"), ("report", ""), ("alice", "")] {
            assert_eq!(users.log_in(name, password), None, "{name} {password}");
        }
        assert_eq!(users.bearer("", "x"), None);
        assert_eq!(users.bearer(&"x".repeat(5000), "x"), None);
    }

    #[test]
    fn a_token_has_the_rights_of_its_user_only() {
        let (users, token) = users();
        let identity = users.bearer(&token, "1.2.3.4:5").unwrap();
        assert_eq!((identity.user.as_deref(), identity.may_train, identity.is_node), (Some("report"), false, false));
        assert_ne!(users.bearer(&token, "1.2.3.4:6").unwrap().session, identity.session);
    }

    #[test]
    fn debug_output_contains_no_secrets() {
        let (users, token) = users();
        let session = users.log_in("alice", "open sesame").unwrap();
        let shown = format!("{users:?}");
        assert!(shown.contains("alice") && shown.contains("Train"), "{shown}");
        let hash = blake3::hash(token.as_bytes()).to_hex().to_string();
        for secret in ["argon2", &token, &hash, &session] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn the_error_of_an_invalid_users_file_does_not_show_the_secret() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[users.a]\npassword = \"secret!\"\n").unwrap();
        let error = Users::read(file.path()).unwrap_err().to_string();
        assert!(error.contains("the password hash of a") && !error.contains("secret!"), "{error}");
    }
}
