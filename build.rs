//! When this program is built: no clock that is right shows an earlier time (`src/clock.rs`).

#[expect(clippy::disallowed_methods, reason = "the build has no Clock to ask")]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    // A reproducible build names its time itself (reproducible-builds.org/specs/source-date-epoch).
    let named = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| seconds.parse().ok());
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    println!("cargo::rustc-env=AUDITBELL_BUILT={}", named.unwrap_or_else(now));
}
