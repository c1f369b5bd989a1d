//! The generated messages and services. Modules are nested as the protobuf packages are, because
//! generated code refers to its siblings through `super`.

#![allow(
    missing_docs,
    unreachable_pub,
    deprecated,
    clippy::all,
    rustdoc::invalid_html_tags,
    rustdoc::broken_intra_doc_links,
    rustdoc::bare_urls
)]

pub mod google {
    pub mod rpc {
        tonic::include_proto!("google.rpc");
    }
}

pub mod p4 {
    pub mod v1 {
        tonic::include_proto!("p4.v1");
    }
    pub mod config {
        pub mod v1 {
            tonic::include_proto!("p4.config.v1");
        }
    }
}
