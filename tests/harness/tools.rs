//! The programs that people really use: curl, openssl, hey, h2load. Missing ones fail with what to do.

use std::{
    io::ErrorKind,
    process::{Output, Stdio},
};

use tokio::{io::AsyncWriteExt as _, process::Command};

/// Runs curl; `-sS` is given.
pub async fn curl(arguments: &[&str]) -> Output {
    run("curl", &[&["-sS"], arguments].concat(), b"").await
}

/// Runs openssl with this standard input, which `s_client` needs.
pub async fn openssl(arguments: &[&str], input: &[u8]) -> Output {
    run("openssl", arguments, input).await
}

/// Runs hey.
pub async fn hey(arguments: &[&str]) -> Output {
    run("hey", arguments, b"").await
}

/// Runs h2load.
pub async fn h2load(arguments: &[&str]) -> Output {
    run("h2load", arguments, b"").await
}

async fn run(program: &str, arguments: &[&str], input: &[u8]) -> Output {
    let spawned = Command::new(program)
        .args(arguments)
        // A developer's proxy must not get in the way.
        .env("no_proxy", "*")
        .env("NO_PROXY", "*")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!(
                "this test needs `{program}`, which is not on PATH: run `make setup-test`, or install it"
            )
        }
        Err(error) => panic!("`{program}` cannot be started: {error}"),
    };
    let mut stdin = child.stdin.take().unwrap();
    // The program may end before it has read everything.
    let _written = stdin.write_all(input).await;
    drop(stdin);
    child.wait_with_output().await.unwrap()
}
