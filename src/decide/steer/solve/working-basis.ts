/**
 * The inverse of the working basis: dense, row-major, of the order of the coupling rows. The items' own rows never enter it, so that its size
 * depends on sites and links only.
 */
export class WorkingBasis {
  size = 0;
  #inverse = new Float64Array(0);

  /** To the inverse of minus one on the diagonal: all basic variables are singles of their row. */
  reset(size: number): void {
    this.size = size;
    this.#inverse = new Float64Array(size * size);
    for (let i = 0; i < size; i++) this.#inverse[i * size + i] = -1;
  }

  /**
   * Inverts `columns` ([column][row], dense); destroys it. False: singular. Gauss-Jordan with row exchange, size^3.
   */
  invert(columns: Float64Array, size: number): boolean {
    this.size = size;
    const inverse = new Float64Array(size * size);
    // Row-major copy of the matrix, with the identity beside it.
    const rows = new Float64Array(size * size);
    for (let c = 0; c < size; c++) for (let r = 0; r < size; r++) rows[r * size + c] = columns[c * size + r];
    for (let i = 0; i < size; i++) inverse[i * size + i] = 1;
    for (let c = 0; c < size; c++) {
      let pivot = c;
      for (let r = c + 1; r < size; r++) if (Math.abs(rows[r * size + c]) > Math.abs(rows[pivot * size + c])) pivot = r;
      const value = rows[pivot * size + c];
      if (Math.abs(value) < 1e-11) return false;
      if (pivot !== c) {
        swapRows(rows, size, pivot, c);
        swapRows(inverse, size, pivot, c);
      }
      scaleRow(rows, size, c, 1 / value);
      scaleRow(inverse, size, c, 1 / value);
      for (let r = 0; r < size; r++) {
        const factor = rows[r * size + c];
        if (r === c || factor === 0) continue;
        addRow(rows, size, r, c, -factor);
        addRow(inverse, size, r, c, -factor);
      }
    }
    this.#inverse = inverse;
    return true;
  }

  /** out = inverse * column, the column given by `count` entries. */
  solve(rows: Int32Array, values: Float64Array, count: number, out: Float64Array): void {
    const { size } = this;
    const inverse = this.#inverse;
    for (let m = 0, start = 0; m < size; m++, start += size) {
      let sum = 0;
      for (let k = 0; k < count; k++) sum += inverse[start + rows[k]] * values[k];
      out[m] = sum;
    }
  }

  /** out = inverse * dense column. */
  solveDense(column: Float64Array, out: Float64Array): void {
    const { size } = this;
    for (let m = 0; m < size; m++) {
      let sum = 0;
      for (let r = 0; r < size; r++) sum += this.#inverse[m * size + r] * column[r];
      out[m] = sum;
    }
  }

  /** out = row * inverse. */
  price(row: Float64Array, out: Float64Array): void {
    const { size } = this;
    out.fill(0, 0, size);
    for (let m = 0; m < size; m++) {
      const factor = row[m];
      if (factor === 0) continue;
      for (let r = 0, at = m * size; r < size; r++, at++) out[r] += factor * this.#inverse[at];
    }
  }

  /** into += factor * row `position` of the inverse. */
  addInverseRow(position: number, factor: number, into: Float64Array): void {
    const { size } = this;
    for (let r = 0, at = position * size; r < size; r++, at++) into[r] += factor * this.#inverse[at];
  }

  /** The column at `position` becomes the one whose solution is `direction`. */
  replace(position: number, direction: Float64Array): void {
    const { size } = this;
    const inverse = this.#inverse;
    scaleRow(inverse, size, position, 1 / direction[position]);
    for (let m = 0; m < size; m++) {
      if (m !== position && direction[m] !== 0) addRow(inverse, size, m, position, -direction[m]);
    }
  }

  /**
   * The key of an item changes places with its basic variable at `position`: columns are told from the new key, so that row takes the negative
   * sum of the rows of all the item's basic variables.
   */
  exchangeKey(position: number, others: readonly number[]): void {
    const { size } = this;
    const inverse = this.#inverse;
    for (const other of others) if (other !== position) addRow(inverse, size, position, other, 1);
    scaleRow(inverse, size, position, -1);
  }
}

function scaleRow(matrix: Float64Array, size: number, row: number, factor: number): void {
  for (let at = row * size, end = at + size; at < end; at++) matrix[at] *= factor;
}

function addRow(matrix: Float64Array, size: number, to: number, from: number, factor: number): void {
  for (let a = to * size, b = from * size, end = a + size; a < end; a++, b++) matrix[a] += factor * matrix[b];
}

function swapRows(matrix: Float64Array, size: number, one: number, other: number): void {
  for (let a = one * size, b = other * size, end = a + size; a < end; a++, b++) {
    const kept = matrix[a];
    matrix[a] = matrix[b];
    matrix[b] = kept;
  }
}
