// Compiled with AssemblyScript 0.28.20: asc words.ts -o words.wasm -Oz --runtime stub --use abort=
// Counts the words of its input, with the functions of the module "hearth" alone.
@external("hearth", "input_size") declare function inputSize(): i64;
@external("hearth", "input_read") declare function inputRead(at: usize, length: i32, offset: i64): i32;
@external("hearth", "output_write") declare function outputWrite(at: usize, length: i32): i32;
@external("hearth", "log") declare function log(at: usize, length: i32): void;

export function hearth_call(): i32 {
  const input = new Uint8Array(i32(inputSize()));
  inputRead(input.dataStart, input.length, 0);
  let words = 0;
  let inside = false;
  for (let i = 0; i < input.length; i++) {
    const space = input[i] <= 32;
    if (!space && !inside) words++;
    inside = !space;
  }
  const text = String.UTF8.encode(words.toString() + " words\n");
  outputWrite(changetype<usize>(text), text.byteLength);
  const said = String.UTF8.encode(input.length.toString() + " bytes read\n");
  log(changetype<usize>(said), said.byteLength);
  return words > 0 ? 0 : 1;
}
