//! What can go wrong, and the one table that says how each protocol tells it.

use std::error::Error as Cause;
use std::fmt;

use tonic::Code;

/// Why a call was refused or failed. The names are those of `synapse.v1.ErrorReason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The request breaks a rule of the API.
    InvalidArgument,
    /// The state of the server does not allow the call, for example no agent is configured.
    FailedPrecondition,
    /// The key is missing, unknown, revoked or expired.
    Unauthenticated,
    /// The caller is known and may not do this.
    PermissionDenied,
    /// What the call names does not exist.
    NotFound,
    /// Somebody else was faster, or the key of a request that may be repeated belongs to another one.
    Conflict,
    /// The request is larger than the server takes.
    TooLarge,
    /// No model can answer: none is configured, or its weights are absent.
    ModelNotConfigured,
    /// The agent's model failed, ran out of time or answered with nonsense.
    AgentFailed,
    /// The server itself failed.
    Internal,
    /// The server is starting, stopping or out of room.
    Unavailable,
    /// The caller went away.
    Cancelled,
}

/// One row of the table.
struct Row {
    name: &'static str,
    code: Code,
    retry: bool,
}

impl Reason {
    /// Every reason, for tables and tests.
    pub const ALL: [Self; 12] = [
        Self::InvalidArgument,
        Self::FailedPrecondition,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::NotFound,
        Self::Conflict,
        Self::TooLarge,
        Self::ModelNotConfigured,
        Self::AgentFailed,
        Self::Internal,
        Self::Unavailable,
        Self::Cancelled,
    ];

    const fn row(self) -> Row {
        let (name, code, retry) = match self {
            Self::InvalidArgument => ("INVALID_ARGUMENT", Code::InvalidArgument, false),
            Self::FailedPrecondition => ("FAILED_PRECONDITION", Code::FailedPrecondition, false),
            Self::Unauthenticated => ("UNAUTHENTICATED", Code::Unauthenticated, false),
            Self::PermissionDenied => ("PERMISSION_DENIED", Code::PermissionDenied, false),
            Self::NotFound => ("NOT_FOUND", Code::NotFound, false),
            Self::Conflict => ("CONFLICT", Code::Aborted, false),
            Self::TooLarge => ("TOO_LARGE", Code::OutOfRange, false),
            Self::ModelNotConfigured => ("MODEL_NOT_CONFIGURED", Code::Internal, false),
            Self::AgentFailed => ("AGENT_FAILED", Code::Internal, true),
            Self::Internal => ("INTERNAL", Code::Internal, true),
            Self::Unavailable => ("UNAVAILABLE", Code::Unavailable, true),
            Self::Cancelled => ("CANCELLED", Code::Cancelled, true),
        };
        Row { name, code, retry }
    }

    /// Returns the name that `google.rpc.ErrorInfo.reason` carries.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Returns the reason of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// Returns the gRPC code.
    pub const fn grpc(self) -> Code {
        self.row().code
    }

    /// Returns the HTTP status.
    pub const fn http(self) -> u16 {
        match self {
            Self::TooLarge => 413,
            _ => http_status(self.row().code),
        }
    }

    /// Tells whether the same call may succeed later.
    pub const fn may_retry(self) -> bool {
        self.row().retry
    }
}

/// Maps a gRPC code to the HTTP status that REST answers, after `google.rpc.Code`'s own mapping. Out of range is a 400.
pub const fn http_status(code: Code) -> u16 {
    match code {
        Code::Ok => 200,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => 400,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::NotFound => 404,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::ResourceExhausted => 429,
        Code::Cancelled => 499,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::DeadlineExceeded => 504,
        Code::Unknown | Code::Internal | Code::DataLoss => 500,
    }
}

/// A refusal or failure: `detail` is for the caller, the cause is for the log.
#[derive(Debug)]
pub struct Error {
    reason: Reason,
    detail: String,
    cause: Option<Box<dyn Cause + Send + Sync>>,
}

/// The result of everything that can be refused.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Makes an error with the sentence that the caller reads.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), cause: None }
    }

    /// Makes a refusal of bad input.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Reason::InvalidArgument, detail)
    }

    /// Makes a refusal of something that does not exist.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(Reason::NotFound, detail)
    }

    /// Makes a failure of the server itself; the caller reads only that it happened.
    pub fn internal(cause: impl Into<Box<dyn Cause + Send + Sync>>) -> Self {
        Self::new(Reason::Internal, "An internal error occurred. Check server logs for details.").because(cause)
    }

    /// Adds the cause, which only the log sees.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Cause + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Returns everything that is known, for the log: the cause and its causes, or the detail where there is none.
    pub fn chain(&self) -> String {
        let mut deeper = self.source();
        let mut causes = Vec::new();
        while let Some(cause) = deeper {
            causes.push(cause.to_string());
            deeper = cause.source();
        }
        if causes.is_empty() { self.detail.clone() } else { causes.join(": ") }
    }

    /// Returns why.
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// Returns the sentence for the caller.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.detail)
    }
}

impl Cause for Error {
    fn source(&self) -> Option<&(dyn Cause + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}
