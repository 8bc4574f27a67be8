// A KV cache: [page][KV head][token][dim]; of Q8_0 the integers come first and then a plane of f16 scales.
layout(constant_id = 0) const uint FORMAT = 1;
const uint PAGE = 16;

// cacheRow is the index of a cell's row of dim values.
uint cacheRow(uint cell, uint head, uint heads) { return (cell / PAGE * heads + head) * PAGE + cell % PAGE; }

const uint VALUE_BYTES = FORMAT == F32 ? 4 : FORMAT == Q8_0 ? 1 : 2; // also the words of four values
