/** A SentencePiece vocabulary with scores, as llama2.c stores it, as Hugging Face's `tokenizer.json`. */

/** Pieces of Llama's vocabulary that stand for no text. */
const SPECIAL = ['<unk>', '<s>', '</s>'];

/** @param bytes an int32, then per piece a float32 score, an int32 length and its bytes */
export function sentencePieceTokenizer(bytes: Uint8Array): object {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const pieces: { piece: string; score: number }[] = [];
  for (let at = 4; at + 8 <= bytes.length; ) {
    const length = view.getInt32(at + 4, true);
    const text = new TextDecoder().decode(bytes.subarray(at + 8, at + 8 + length));
    pieces.push({ piece: SPECIAL[pieces.length] ?? text.replaceAll(' ', '▁'), score: view.getFloat32(at, true) });
    at += 8 + length;
  }
  const vocab = Object.fromEntries(pieces.map(({ piece }, id) => [piece, id]));
  return {
    version: '1.0',
    added_tokens: SPECIAL.map((content, id) => ({
      id,
      content,
      special: true,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
    })),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '▁' },
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    },
    pre_tokenizer: null,
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
      special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } },
    },
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: { type: 'BPE', unk_token: '<unk>', fuse_unk: true, byte_fallback: true, vocab, merges: mergesOf(pieces, vocab) },
  };
}

/** Pairs of pieces that make a piece, best score first: what SentencePiece finds by scores, byte-pair encoding finds by rank. */
function mergesOf(pieces: readonly { piece: string; score: number }[], vocab: { readonly [piece: string]: number }): [string, string][] {
  const found: { pair: [string, string]; score: number; id: number }[] = [];
  for (const [id, { piece, score }] of pieces.entries()) {
    if (id < SPECIAL.length || /^<0x..>$/.test(piece)) continue;
    const letters = [...piece];
    for (let cut = 1; cut < letters.length; cut++) {
      const pair: [string, string] = [letters.slice(0, cut).join(''), letters.slice(cut).join('')];
      if (pair.every((part) => Object.hasOwn(vocab, part))) found.push({ pair, score, id });
    }
  }
  return found.sort((a, b) => b.score - a.score || a.id - b.id).map(({ pair }) => pair);
}
