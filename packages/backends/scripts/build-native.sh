#!/bin/sh
# Compiles native/*.c to the two modules that the package carries as text: with SIMD, and for engines without it.
# Needs clang and wasm-ld 19. The result depends on nothing else: the same compiler gives the same bytes.
set -eu
cd "$(dirname "$0")/.."
CLANG=${CLANG:-clang-19}
for variant in simd plain; do
  flags=; [ $variant = simd ] && flags=-msimd128
  object=$(mktemp)
  $CLANG --target=wasm32 -std=c17 -O2 -fno-unroll-loops $flags -mbulk-memory -ffreestanding -fno-strict-aliasing -fno-math-errno -Wall -Wextra -nostdlib \
    -Wl,--no-entry -Wl,--strip-all -Wl,--import-memory -Wl,--initial-memory=131072 -Wl,--max-memory=4294967296 \
    -Wl,--export=__stack_pointer native/*.c -o "$object"
  node scripts/embed-native.mjs "$object" $variant > src/wasm/native-$variant.ts
  rm "$object"
done
