//! Finds libsrt. The bindings are written by hand (`src/sys/raw.rs`), so that neither clang nor a
//! copy of libsrt's sources is needed: Debian's own library is linked, which gets its security fixes.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // 1.5.0 added fields to the statistics that `raw::Statistics` has too.
    let found = pkg_config::Config::new()
        .atleast_version("1.5.0")
        .probe("srt");
    if found.is_err() {
        println!(
            "cargo::error=libsrt was not found. On Debian: apt-get install libsrt-gnutls-dev pkg-config \
             (1.5.1-1+deb12u2 or newer)"
        );
        std::process::exit(1);
    }
}
