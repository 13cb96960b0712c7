//! The forward pass of a Llama network over quantised weights, on the thread that calls it.
//!
//! candle brings the file format and the kernels. Its ready-made model is not used: it takes its number of threads from the environment of the
//! process alone, spins on every core while it works, and gives the scores of the last token only, where a choice needs those of every token.

use std::fs::File;

use candle_core::quantized::GgmlType;
use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::{Error, Result};

use super::matrix::{Matrix, vector};

/// A network with its weights.
pub(super) struct Network {
    heads: usize,
    /// Heads of keys and values; several heads of queries share one.
    shared_heads: usize,
    head_width: usize,
    rotation_base: f32,
    epsilon: f32,
    /// Turns tokens into vectors, and, because the model ties the two, vectors into scores of tokens.
    tokens: Matrix,
    layers: Vec<Layer>,
    norm: Vec<f32>,
}

struct Layer {
    attention_norm: Vec<f32>,
    query: Matrix,
    key: Matrix,
    value: Matrix,
    output: Matrix,
    feed_norm: Vec<f32>,
    gate: Matrix,
    up: Matrix,
    down: Matrix,
}

/// What the network keeps of the tokens that it has read. A clone can be continued differently.
#[derive(Clone)]
pub(super) struct Memory {
    length: usize,
    layers: Vec<Past>,
}

/// Keys and values of one layer, token after token.
#[derive(Clone, Default)]
struct Past {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Network {
    /// Reads the network of a file.
    pub(super) fn read_file(file: &mut File, content: &Content) -> Result<Self> {
        let heads = count(content, "llama.attention.head_count")?;
        Ok(Self {
            heads,
            shared_heads: count(content, "llama.attention.head_count_kv")?,
            head_width: count(content, "llama.embedding_length")? / heads,
            rotation_base: metadata(content, "llama.rope.freq_base")?.to_f32()?,
            epsilon: metadata(content, "llama.attention.layer_norm_rms_epsilon")?.to_f32()?,
            tokens: Matrix::read(file, content, "token_embd.weight")?,
            layers: (0..count(content, "llama.block_count")?).map(|index| Layer::read(file, content, index)).collect::<Result<_>>()?,
            norm: vector(file, content, "output_norm.weight")?,
        })
    }

    /// Returns the memory of a network that has read nothing.
    pub(super) fn blank(&self) -> Memory {
        Memory { length: 0, layers: vec![Past::default(); self.layers.len()] }
    }

    /// Returns the length of the vector that stands for one token.
    pub(super) const fn width(&self) -> usize {
        self.norm.len()
    }

    /// Returns how many tokens there are.
    pub(super) const fn vocabulary(&self) -> usize {
        self.tokens.rows()
    }

    /// Reads tokens on top of what `memory` holds, and returns a vector for each.
    pub(super) fn read(&self, memory: &mut Memory, tokens: &[u32]) -> Vec<f32> {
        let mut vectors = vec![0.0; tokens.len() * self.width()];
        for (&token, vector) in tokens.iter().zip(vectors.chunks_exact_mut(self.width())) {
            self.tokens.copy_row(token as usize, vector);
        }
        let rotations = self.rotations(memory.length, tokens.len());
        for (layer, past) in self.layers.iter().zip(&mut memory.layers) {
            let attended = self.attend(layer, past, &self.normalised(&vectors, &layer.attention_norm), &rotations);
            add(&mut vectors, &layer.output.times(&attended));
            let fed = layer.feed(&self.normalised(&vectors, &layer.feed_norm));
            add(&mut vectors, &fed);
        }
        memory.length += tokens.len();
        self.normalised(&vectors, &self.norm)
    }

    /// Returns the score of every token to come next, for each of the vectors.
    pub(super) fn scores(&self, vectors: &[f32]) -> Vec<f32> {
        self.tokens.times(vectors)
    }

    fn attend(&self, layer: &Layer, past: &mut Past, vectors: &[f32], rotations: &[(f32, f32)]) -> Vec<f32> {
        let (mut queries, mut keys) = (layer.query.times(vectors), layer.key.times(vectors));
        self.rotate(&mut queries, rotations);
        self.rotate(&mut keys, rotations);
        let before = past.keys.len() / (self.shared_heads * self.head_width);
        past.keys.extend(keys);
        past.values.extend(layer.value.times(vectors));
        let mut attended = vec![0.0; queries.len()];
        let width = self.heads * self.head_width;
        for (index, (query, sum)) in queries.chunks_exact(width).zip(attended.chunks_exact_mut(width)).enumerate() {
            for (head, (query, sum)) in query.chunks_exact(self.head_width).zip(sum.chunks_exact_mut(self.head_width)).enumerate() {
                self.look_back(past, head * self.shared_heads / self.heads, before + index + 1, query, sum);
            }
        }
        attended
    }

    /// Sums the values of the first `reach` tokens, each weighed by how well its key answers the query.
    fn look_back(&self, past: &Past, head: usize, reach: usize, query: &[f32], sum: &mut [f32]) {
        let (stride, start, width) = (self.shared_heads * self.head_width, head * self.head_width, self.head_width);
        let scale = (width as f32).sqrt().recip();
        let answers = past.keys.chunks_exact(stride).take(reach).map(|key| f32::vec_dot(width, query, &key[start..start + width]) * scale);
        let mut weights: Vec<f32> = answers.collect();
        soften(&mut weights);
        for (weight, value) in weights.iter().zip(past.values.chunks_exact(stride)) {
            for (sum, value) in sum.iter_mut().zip(&value[start..start + width]) {
                *sum += weight * value;
            }
        }
    }

    /// Returns sine and cosine for each token and each pair of numbers in a head.
    fn rotations(&self, first: usize, count: usize) -> Vec<(f32, f32)> {
        let pairs = self.head_width / 2;
        let angle = |position: usize, pair: usize| position as f32 * self.rotation_base.powf(-(pair as f32) / pairs as f32);
        (first..first + count).flat_map(|position| (0..pairs).map(move |pair| angle(position, pair).sin_cos())).collect()
    }

    /// Turns every pair of neighbours by the angle of its token's position.
    fn rotate(&self, vectors: &mut [f32], rotations: &[(f32, f32)]) {
        let pairs = self.head_width / 2;
        let width = vectors.len() / (rotations.len() / pairs);
        for (vector, rotations) in vectors.chunks_exact_mut(width).zip(rotations.chunks_exact(pairs)) {
            for (pair, (sine, cosine)) in vector.chunks_exact_mut(2).zip(rotations.iter().cycle()) {
                let (x, y) = (pair[0], pair[1]);
                pair[0] = x * cosine - y * sine;
                pair[1] = x * sine + y * cosine;
            }
        }
    }

    fn normalised(&self, vectors: &[f32], weights: &[f32]) -> Vec<f32> {
        let mut normalised = Vec::with_capacity(vectors.len());
        for vector in vectors.chunks_exact(weights.len()) {
            let mean = f32::vec_dot(vector.len(), vector, vector) / vector.len() as f32;
            let scale = (mean + self.epsilon).sqrt().recip();
            normalised.extend(vector.iter().zip(weights).map(|(value, weight)| value * scale * weight));
        }
        normalised
    }
}

impl Layer {
    fn read(file: &mut File, content: &Content, index: usize) -> Result<Self> {
        let name = |part: &str| format!("blk.{index}.{part}.weight");
        Ok(Self {
            attention_norm: vector(file, content, &name("attn_norm"))?,
            query: Matrix::read(file, content, &name("attn_q"))?,
            key: Matrix::read(file, content, &name("attn_k"))?,
            value: Matrix::read(file, content, &name("attn_v"))?,
            output: Matrix::read(file, content, &name("attn_output"))?,
            feed_norm: vector(file, content, &name("ffn_norm"))?,
            gate: Matrix::read(file, content, &name("ffn_gate"))?,
            up: Matrix::read(file, content, &name("ffn_up"))?,
            down: Matrix::read(file, content, &name("ffn_down"))?,
        })
    }

    fn feed(&self, vectors: &[f32]) -> Vec<f32> {
        let mut gated = self.gate.times(vectors);
        for (gate, up) in gated.iter_mut().zip(self.up.times(vectors)) {
            *gate *= up / (1.0 + (-*gate).exp());
        }
        self.down.times(&gated)
    }
}

fn add(sums: &mut [f32], values: &[f32]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}

/// Makes scores into shares of one (softmax).
fn soften(scores: &mut [f32]) {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - highest).exp();
        sum += *score;
    }
    for score in scores {
        *score /= sum;
    }
}

/// Looks a value of the file's metadata up.
pub(super) fn metadata<'a>(content: &'a Content, key: &str) -> Result<&'a Value> {
    content.metadata.get(key).ok_or_else(|| Error::Msg(format!("`{key}` is missing")))
}

fn count(content: &Content, key: &str) -> Result<usize> {
    Ok(metadata(content, key)?.to_u32()? as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softened_scores_add_up_to_one_and_keep_their_order() {
        let mut scores = [1.0, 3.0, 2.0, 1000.0];
        soften(&mut scores);
        assert!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(scores[3] > 0.99 && scores[1] >= scores[2]);
    }
}
