#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct HttpExtension {
    #[prost(enumeration = "http_extension::Verb", tag = "1")]
    pub verb: i32,
    #[prost(string, tag = "2")]
    pub querystring: ::prost::alloc::string::String,
}
pub mod http_extension {
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
    #[repr(i32)]
    pub enum Verb {
        None = 0,
        Get = 1,
        Head = 2,
        Post = 3,
        Put = 4,
        Delete = 5,
        Connect = 6,
        Options = 7,
        Trace = 8,
        Patch = 9,
    }
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct InvokeRequest {
    #[prost(string, tag = "1")]
    pub method: ::prost::alloc::string::String,
    #[prost(message, optional, tag = "2")]
    pub data: ::core::option::Option<::prost_types::Any>,
    #[prost(string, tag = "3")]
    pub content_type: ::prost::alloc::string::String,
    #[prost(message, optional, tag = "4")]
    pub http_extension: ::core::option::Option<HttpExtension>,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct InvokeResponse {
    #[prost(message, optional, tag = "1")]
    pub data: ::core::option::Option<::prost_types::Any>,
    #[prost(string, tag = "2")]
    pub content_type: ::prost::alloc::string::String,
}
