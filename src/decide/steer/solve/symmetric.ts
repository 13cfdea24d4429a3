/** Solves with a positive definite matrix (row-major) by Cholesky's method; destroys it. A column that is no longer positive is raised. size^3 / 6. */
export function solveSymmetric(matrix: Float64Array, right: Float64Array, size: number): Float64Array {
  const out = right.slice();
  for (let c = 0; c < size; c++) {
    const top = c * size;
    let diagonal = matrix[top + c];
    const floor = 1e-10 * Math.max(diagonal, 1e-12);
    for (let k = 0; k < c; k++) diagonal -= matrix[top + k] * matrix[top + k];
    const root = Math.sqrt(Math.max(diagonal, floor));
    matrix[top + c] = root;
    for (let r = c + 1; r < size; r++) {
      const at = r * size;
      let sum = matrix[at + c];
      for (let k = 0; k < c; k++) sum -= matrix[at + k] * matrix[top + k];
      matrix[at + c] = sum / root;
    }
  }
  for (let r = 0; r < size; r++) {
    for (let k = 0; k < r; k++) out[r] -= matrix[r * size + k] * out[k];
    out[r] /= matrix[r * size + r];
  }
  for (let r = size - 1; r >= 0; r--) {
    for (let k = r + 1; k < size; k++) out[r] -= matrix[k * size + r] * out[k];
    out[r] /= matrix[r * size + r];
  }
  return out;
}
