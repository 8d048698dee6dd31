//! Generated gRPC types of trunkline.v1 and their conversions.
