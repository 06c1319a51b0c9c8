/* Pillow's BILINEAR resize of packed RGB of 8 bits, to the bit. resize_native.py builds and proves it.

   Source: Pillow, src/libImaging/Resample.c: columns first, then rows, each pass rounded to 8 bits;
   weights are integers of 22 binary places. The caller brings weights and scratch.

   The first pass takes 16 rows at a time and turns them, so that a column's byte of all of them lies
   side by side: one weight then goes with a whole vector. */

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

enum { ROWS = 16, PLACES = 22 };

#define AVX2 __attribute__((target("avx2")))

int is_supported(void) { return __builtin_cpu_supports("avx2") != 0; }

/* 16 rows of 16 bytes become 16 columns. */
AVX2 static inline void turn(__m128i square[ROWS]) {
    __m128i zipped[ROWS];
    for (int step = 0; step < 2; step++) {
        for (int i = 0; i < ROWS / 2; i++) {
            zipped[2 * i] = _mm_unpacklo_epi8(square[i], square[i + ROWS / 2]);
            zipped[2 * i + 1] = _mm_unpackhi_epi8(square[i], square[i + ROWS / 2]);
        }
        for (int i = 0; i < ROWS / 2; i++) {
            square[2 * i] = _mm_unpacklo_epi8(zipped[i], zipped[i + ROWS / 2]);
            square[2 * i + 1] = _mm_unpackhi_epi8(zipped[i], zipped[i + ROWS / 2]);
        }
    }
}

/* Adds a weight's share of 16 bytes to 16 sums. */
AVX2 static inline void add(__m256i sums[2], const uint8_t *from, __m256i weight) {
    __m128i low = _mm_loadu_si128((const __m128i *)from), high = _mm_srli_si128(low, 8);
    sums[0] = _mm256_add_epi32(sums[0], _mm256_mullo_epi32(_mm256_cvtepu8_epi32(low), weight));
    sums[1] = _mm256_add_epi32(sums[1], _mm256_mullo_epi32(_mm256_cvtepu8_epi32(high), weight));
}

/* 16 sums as levels from 0 to 255. */
AVX2 static inline __m128i levels(const __m256i sums[2]) {
    __m256i low = _mm256_srai_epi32(sums[0], PLACES), high = _mm256_srai_epi32(sums[1], PLACES);
    __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0xD8);
    return _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

/* in:      height rows of width pixels, in_stride bytes apart
   out:     out_height rows of out_width pixels, out_stride bytes apart
   starts:  of each output pixel the first input pixel, counts: how many, weights: taps a pixel
   scratch: 16 * (I + O) + (height + 15) * O bytes, where I and O are the bytes of an input and an
            output row, rounded up to a multiple of 16 */
AVX2 void resize_rgb(const uint8_t *in, int64_t in_stride, int32_t width, int32_t height,
                     uint8_t *out, int64_t out_stride, int32_t out_width, int32_t out_height,
                     const int32_t *x_starts, const int32_t *x_counts, const int32_t *x_weights,
                     int32_t x_taps, const int32_t *y_starts, const int32_t *y_counts,
                     const int32_t *y_weights, int32_t y_taps, uint8_t *scratch) {
    const int64_t num_in = 3 * (int64_t)width, num_out = 3 * (int64_t)out_width;
    const int64_t in_row = (num_in + ROWS - 1) / ROWS * ROWS;
    const int64_t row = (num_out + ROWS - 1) / ROWS * ROWS;
    uint8_t *columns = scratch, *narrowed = columns + ROWS * in_row, *rows = narrowed + ROWS * row;
    const __m256i half = _mm256_set1_epi32(1 << (PLACES - 1));
    __m128i square[ROWS];

    memset(narrowed, 0, ROWS * row);
    for (int32_t top = 0; top < height; top += ROWS) {
        for (int64_t at = 0; at < in_row; at += ROWS) {
            int64_t size = num_in - at < ROWS ? num_in - at : ROWS;
            for (int r = 0; r < ROWS; r++) {
                int64_t y = top + r < height ? top + r : height - 1;
                if (size == ROWS) {
                    square[r] = _mm_loadu_si128((const __m128i *)(in + y * in_stride + at));
                } else { /* the end of a row: nothing behind it is read */
                    square[r] = _mm_setzero_si128();
                    memcpy(&square[r], in + y * in_stride + at, size);
                }
            }
            turn(square);
            memcpy(columns + ROWS * at, square, sizeof square);
        }
        for (int32_t x = 0; x < out_width; x++) {
            const uint8_t *from = columns + ROWS * 3 * (int64_t)x_starts[x];
            const int32_t *weights = x_weights + (int64_t)x * x_taps;
            __m256i red[2] = {half, half}, green[2] = {half, half}, blue[2] = {half, half};
            for (int32_t k = 0; k < x_counts[x]; k++, from += 3 * ROWS) {
                __m256i weight = _mm256_set1_epi32(weights[k]);
                add(red, from, weight);
                add(green, from + ROWS, weight);
                add(blue, from + 2 * ROWS, weight);
            }
            __m128i *to = (__m128i *)(narrowed + ROWS * 3 * (int64_t)x);
            _mm_storeu_si128(to, levels(red));
            _mm_storeu_si128(to + 1, levels(green));
            _mm_storeu_si128(to + 2, levels(blue));
        }
        for (int64_t at = 0; at < row; at += ROWS) {
            memcpy(square, narrowed + ROWS * at, sizeof square);
            turn(square);
            for (int r = 0; r < ROWS; r++) memcpy(rows + (top + r) * row + at, &square[r], ROWS);
        }
    }
    for (int32_t y = 0; y < out_height; y++) {
        const int32_t *weights = y_weights + (int64_t)y * y_taps;
        for (int64_t at = 0; at < row; at += ROWS) {
            const uint8_t *from = rows + y_starts[y] * row + at;
            __m256i sums[2] = {half, half};
            for (int32_t k = 0; k < y_counts[y]; k++, from += row)
                add(sums, from, _mm256_set1_epi32(weights[k]));
            __m128i level = levels(sums);
            memcpy(out + y * out_stride + at, &level, num_out - at < ROWS ? num_out - at : ROWS);
        }
    }
}
