#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct InvokeServiceRequest {
    #[prost(string, tag = "1")]
    pub id: ::prost::alloc::string::String,
    #[prost(message, optional, tag = "3")]
    pub message: ::core::option::Option<super::super::common::v1::InvokeRequest>,
}
