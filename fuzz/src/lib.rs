//! What fuzz targets share with the program that makes their first inputs.

pub mod commands;
pub mod image;
pub mod row;
pub mod world;
