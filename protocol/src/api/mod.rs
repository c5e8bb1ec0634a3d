//! Requests and answers of the hub's HTTP interface, all JSON, all under `/v1`.
//!
//! | route | request → answer |
//! |---|---|
//! | `GET /v1/health` (no token needed) | → [`Health`] |
//! | `POST /v1/bundles` | [`Manifest`](crate::bundle::Manifest) → [`MissingFiles`] |
//! | `PUT /v1/files/{digest}` | bytes → 204 |
//! | `GET /v1/files/{digest}` | → bytes |
//! | `GET /v1/bundles/{digest}` | → [`Manifest`](crate::bundle::Manifest) |
//! | `GET /v1/plans/{digest}` | → [`PlanAnswer`] |
//! | `POST /v1/runs` | [`SubmitRequest`] → [`SubmitAnswer`]; 422 with diagnostics; 409 with missing files |
//! | `GET /v1/runs?limit=` | → `Vec<`[`RunView`]`>`, newest first |
//! | `GET /v1/runs/{run}?wait_ms=&version=` | → [`RunView`], at once or when its version has passed `version` |
//! | `GET /v1/runs/{run}/jobs?after=&state=&limit=` | → [`JobPage`]: all jobs and items, or the jobs in one state |
//! | `GET /v1/runs/{run}/logs?after=&limit=` | → [`JobPage`]: the jobs of which an attempt left a log |
//! | `GET /v1/runs/{run}/results?skip=&limit=` | → [`ResultsAnswer`] |
//! | `GET /v1/runs/{run}/explain` | → [`RunExplanation`] |
//! | `POST /v1/runs/{run}/cancel` | → [`RunView`] |
//! | `POST /v1/runs/{run}/reset` | → [`ResetAnswer`]: its failed jobs start over |
//! | `POST /v1/runs/{run}/pin`, `…/unpin` | → [`RunView`]: whether it is kept whatever the bounds |
//! | `POST /v1/runs/{run}/again` | → [`RunView`]: a new run of the same script and files; repeatable with an `Idempotency-Key` |
//! | `POST /v1/pause`, `POST /v1/resume` | [`Pause`] → 204 |
//! | `GET /v1/jobs/{job}` | → [`JobView`] |
//! | `POST /v1/jobs/{job}/reset` | → [`ResetAnswer`]: it and what follows it start over |
//! | `GET /v1/jobs/{job}/explain` | → [`Explanation`] |
//! | `GET /v1/jobs/{job}/log?attempt=` | → the log of that attempt, or of the newest one that left one, as text |
//! | `GET /v1/jobs/{job}/log/live?attempt=&running=&after=&wait_ms=` | → [`LogNews`](crate::log::LogNews), when there is more than that |
//! | `POST /v1/logs` | [`LogRequest`](crate::log::LogRequest) → 204 |
//! | `POST /v1/logs/late` | [`LateLogRequest`](crate::log::LateLogRequest) → [`LateLogAnswer`](crate::log::LateLogAnswer) |
//! | `GET /v1/jobs/{job}/value?head=` | → the value as JSON; of a list or table the first elements |
//! | `GET /v1/status` | → [`StatusAnswer`] |
//! | `PUT /v1/secrets/{name}` | [`SecretRequest`](crate::secret::SecretRequest) → 204 |
//! | `DELETE /v1/secrets/{name}` | → 204 |
//! | `GET /v1/secrets` | → `Vec<`[`SecretView`](crate::secret::SecretView)`>`, by name |
//! | `POST /v1/lease` | [`LeaseRequest`] → [`LeaseAnswer`] |
//! | `POST /v1/lease/secrets` | [`SecretsRequest`](crate::secret::SecretsRequest) → [`SecretsAnswer`](crate::secret::SecretsAnswer); 409 without that lease |
//! | `POST /v1/settle` | [`SettleRequest`] → [`SettleAnswer`]; 409 where every settlement in it was stale |
//! | `POST /v1/beat` | [`BeatRequest`] → [`BeatAnswer`] |
//! | `POST /v1/goodbye` | [`GoodbyeRequest`] → 204 |
//!
//! `{job}` is a job's id, or a [`JobAddress`](crate::JobAddress) with its slash as `%2F`: then the job must be of that run.
//!
//! An error is an [`ErrorBody`] with a status code that fits its kind. All but the health check need
//! `Authorization: Bearer <token>`; a stored key makes `POST /v1/runs` repeatable.

mod error;
mod fleet;
mod leases;
mod runs;

pub use error::*;
pub use fleet::*;
pub use leases::*;
pub use runs::*;
