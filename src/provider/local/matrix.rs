//! A matrix of weights in blocks of 8-bit numbers, and its product with vectors.

use std::fs::File;

use candle_core::quantized::gguf_file::{Content, TensorInfo};
use candle_core::quantized::k_quants::{BlockQ8_0, GgmlType};
use candle_core::{Device, Error, Result};

/// Weights are brought into 8-bit form this many rows at a time, so that loading needs little memory.
const ROWS_AT_ONCE: usize = 1024;

/// Rows are multiplied in fours, the shape of the kernel.
const LANES: usize = 4;

/// A matrix whose rows are quantised. The file's own 4-bit form is smaller, but no processor-specific kernel reads it: 8 bits are three times faster.
pub(super) struct Matrix {
    rows: usize,
    /// The blocks of a row.
    row: usize,
    blocks: Vec<BlockQ8_0>,
}

impl Matrix {
    /// Reads a matrix of the file.
    pub(super) fn read(file: &mut File, content: &Content, name: &str) -> Result<Self> {
        let info = content.tensor_infos.get(name).ok_or_else(|| Error::Msg(format!("tensor `{name}` is missing")))?;
        let (rows, columns) = info.shape.dims2()?;
        if !rows.is_multiple_of(LANES) || !columns.is_multiple_of(BlockQ8_0::BLCK_SIZE) {
            return Err(Error::Msg(format!("tensor `{name}` has the unusual shape {rows} x {columns}")));
        }
        let row = columns / BlockQ8_0::BLCK_SIZE;
        let mut blocks = vec![BlockQ8_0::zeros(); rows * row];
        for (index, piece) in blocks.chunks_mut(ROWS_AT_ONCE * row).enumerate() {
            let values = part(info, index * ROWS_AT_ONCE * columns, piece.len() / row, columns)
                .read(file, content.tensor_data_offset, &Device::Cpu)?
                .dequantize(&Device::Cpu)?;
            BlockQ8_0::from_float(&values.flatten_all()?.to_vec1()?, piece);
        }
        Ok(Self { rows, row, blocks })
    }

    /// Returns how many rows there are.
    pub(super) const fn rows(&self) -> usize {
        self.rows
    }

    /// Writes one row into `values`.
    pub(super) fn copy_row(&self, index: usize, values: &mut [f32]) {
        BlockQ8_0::to_float(self.row(index), values);
    }

    /// Multiplies the matrix with each of the vectors that stand one after another in `vectors`.
    pub(super) fn times(&self, vectors: &[f32]) -> Vec<f32> {
        let width = self.row * BlockQ8_0::BLCK_SIZE;
        let count = vectors.len() / width;
        let mut quantised = vec![BlockQ8_0::zeros(); count * self.row];
        BlockQ8_0::from_float(vectors, &mut quantised);
        let mut products = vec![0.0; count * self.rows];
        for first in (0..self.rows).step_by(LANES) {
            let [a, b, c, d] = [0, 1, 2, 3].map(|lane| self.row(first + lane));
            for (vector, product) in quantised.chunks_exact(self.row).zip(products.chunks_exact_mut(self.rows)) {
                product[first..first + LANES].copy_from_slice(&<[f32; LANES]>::from(BlockQ8_0::vec_dot_4(width, a, b, c, d, vector)));
            }
        }
        products
    }

    fn row(&self, index: usize) -> &[BlockQ8_0] {
        &self.blocks[index * self.row..][..self.row]
    }
}

/// Describes `rows` rows of a tensor, beginning `skipped` values behind its own beginning.
fn part(whole: &TensorInfo, skipped: usize, rows: usize, columns: usize) -> TensorInfo {
    let bytes = skipped / whole.ggml_dtype.block_size() * whole.ggml_dtype.type_size();
    TensorInfo { ggml_dtype: whole.ggml_dtype, shape: (rows, columns).into(), offset: whole.offset + bytes as u64 }
}

/// Reads a vector of the file as it is.
pub(super) fn vector(file: &mut File, content: &Content, name: &str) -> Result<Vec<f32>> {
    content.tensor(file, name, &Device::Cpu)?.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1()
}
