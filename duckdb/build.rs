//! The program finds its library beside itself, and tests of it in the folder above.

fn main() {
    println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN:$ORIGIN/..");
    println!("cargo:rerun-if-changed=build.rs");
}
