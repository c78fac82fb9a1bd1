package wasm

import (
	"bytes"
	"math"

	"hearth/core/fault"
	"hearth/core/store"
)

// Gas for the store, beside what any call of the host costs and the bytes that are
// moved. Whoever changes these changes gas.Version too.
const (
	gasByte  = 2    // a byte that is there when the call begins: it is read, and written at the end
	gasItem  = 1000 // a key that is there then
	gasFind  = 1000 // to find a key among all that there may be
	itemSize = 40   // bytes that are moved for each key when one comes or goes
)

// What kv_get and kv_next give where there is no such key: -1.
const (
	noValue = math.MaxUint64
	noKey   = math.MaxUint32
)

var storeFunctions = map[string]hostFunction{
	"kv_get":    {"iiii", "I", kvGet},
	"kv_set":    {"iiii", "i", kvSet},
	"kv_delete": {"ii", "i", kvDelete},
	"kv_next":   {"iiiiii", "i", kvNext},
}

// stored checks the store that a call brings.
func (c *Call) stored() error {
	if c.StoreMax == 0 {
		if c.Store != nil {
			return fault.New(fault.BadRequest, "call module: a store without room")
		}
		return nil
	}
	if c.StoreMax < 0 || c.StoreMax > store.MaxSize {
		return fault.New(fault.TooLarge, "call module: a store of %d bytes, %d are allowed", c.StoreMax, store.MaxSize)
	}
	if _, err := store.Decode(c.Store, c.StoreMax); err != nil {
		return fault.New(fault.BadRequest, "call module: %w", err)
	}
	return nil
}

// open reads the store of a call; without one it is empty, and has no room.
func (i *instance) open() (err error) {
	i.store = &store.Store{}
	if i.call.StoreMax > 0 {
		i.store, err = store.Decode(i.call.Store, i.call.StoreMax)
	}
	return err
}

// load is the gas for reading it before the module runs, and for writing it.
func (i *instance) load() uint64 {
	return uint64(len(i.call.Store))*gasByte + uint64(i.store.Len())*gasItem
}

// changed is what the store has become, nil where it is as it was.
func (i *instance) changed() []byte {
	if i.call.StoreMax == 0 {
		return nil
	}
	b := i.store.Encode()
	if bytes.Equal(b, i.call.Store) {
		return nil
	}
	return b
}

// key is a key, or the beginning of one, in the program's memory. One that is longer than
// keys are is cut: it is refused, and found behind and before the same ones, all the same.
func (i *instance) key(name string, at, n uint64) string {
	b := i.must(name, at, n)
	return string(b[:min(len(b), store.MaxKey+1)])
}

func kvGet(i *instance, p []uint64) uint64 {
	i.charge(gasFind)
	value, ok := i.store.Get(i.key("kv_get", p[0], p[1]))
	if !ok {
		return noValue
	}
	copy(i.must("kv_get", p[2], min(p[3]&0xffff_ffff, uint64(len(value)))), value)
	return uint64(len(value))
}

func kvSet(i *instance, p []uint64) uint64 {
	i.charge(gasFind)
	key := i.key("kv_set", p[0], p[1])
	value := i.must("kv_set", p[2], p[3])
	if !i.store.Has(key) {
		i.moves(uint64(i.store.Len()) * itemSize)
	}
	return uint64(i.store.Set(key, value))
}

func kvDelete(i *instance, p []uint64) uint64 {
	i.charge(gasFind)
	key := i.key("kv_delete", p[0], p[1])
	if !i.store.Has(key) {
		return 0
	}
	i.moves(uint64(i.store.Len()) * itemSize)
	i.store.Delete(key)
	return 1
}

func kvNext(i *instance, p []uint64) uint64 {
	i.charge(gasFind)
	key, ok := i.store.Next(i.key("kv_next", p[0], p[1]), i.key("kv_next", p[2], p[3]))
	if !ok {
		return noKey
	}
	copy(i.must("kv_next", p[4], min(p[5]&0xffff_ffff, uint64(len(key)))), key)
	return uint64(len(key))
}
