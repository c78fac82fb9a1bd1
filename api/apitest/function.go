package apitest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"regexp"
	"slices"
	"strings"

	"hearth/api"
	"hearth/core/fault"
	"hearth/core/store"
)

var functionName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Runs has calls of functions end so, until it is nil: then a function gives back its
// input, and logs its words.
func (n *Node) Runs(call func(name string, w api.CallWish) (api.Called, error)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.call = call
}

func (n functions) Deploy(_ context.Context, w api.FunctionWish, module []byte) (api.Function, error) {
	switch {
	case !functionName.MatchString(w.Name):
		return api.Function{}, fault.New(fault.BadName, "function %q: a name has 1 to 63 of a-z, 0-9 and -", w.Name)
	case !bytes.HasPrefix(module, []byte("\x00asm")):
		return api.Function{}, fault.New(fault.BadModule, "deploy %s: it doesn't begin like a module", w.Name)
	}
	sum := sha256.Sum256(module)
	f := api.Function{
		Name: w.Name, Module: hex.EncodeToString(sum[:]), Size: int64(len(module)), Gas: w.Gas, Memory: w.Memory, Deadline: w.Deadline,
		Env: append([]string{}, w.Env...), Created: n.Now, Most: api.MoneyOf(1),
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if f.Store = max(w.Store, 0); w.Store == 0 {
		f.Store = n.functions[f.Name].Store
	}
	if n.stores[f.Name] == nil {
		n.stores[f.Name] = store.New(int(f.Store))
	}
	n.functions[f.Name] = f
	return f, nil
}

func (n functions) Functions(context.Context) (api.Functions, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := api.Functions{Functions: []api.Function{}}
	for _, f := range n.functions {
		out.Functions = append(out.Functions, f)
	}
	slices.SortFunc(out.Functions, func(a, b api.Function) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// known is called with mu held.
func (n functions) known(name string) error {
	if _, ok := n.functions[name]; !ok {
		return fault.New(fault.NotFound, "there is no function %q", name)
	}
	return nil
}

func (n functions) Remove(_ context.Context, name string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.known(name); err != nil {
		return err
	}
	delete(n.functions, name)
	delete(n.logs, name)
	delete(n.stores, name)
	return nil
}

func (n functions) Call(_ context.Context, name string, w api.CallWish) (api.Called, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.known(name); err != nil {
		return api.Called{}, err
	}
	done := api.Called{
		Gas: 1000, Host: "hearth1host1", Cost: api.MoneyOf(7), Took: 5_000_000, Witnesses: []string{"hearth1host1"},
		Output: w.Input, Log: []byte(strings.Join(append([]string{name}, w.Args...), " ") + "\n"),
	}
	if n.call != nil {
		var err error
		if done, err = n.call(name, w); err != nil {
			return api.Called{}, err
		}
	}
	n.logs[name] = append(n.logs[name], done.Log...)
	return done, nil
}

func (n functions) Log(_ context.Context, name string, w io.Writer) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.known(name); err != nil {
		return err
	}
	_, err := w.Write(n.logs[name])
	return err
}

func (n functions) Liars(context.Context) (api.Liars, error) {
	return api.Liars{Liars: []api.Liar{{Host: "hearth1liar", At: n.Now, Function: "work", Signed: "1", Right: "2"}}}, nil
}

func (n functions) Store(_ context.Context, name, prefix, after string) (api.FunctionStore, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.known(name); err != nil {
		return api.FunctionStore{}, err
	}
	s := n.stores[name]
	out := api.FunctionStore{Size: int64(s.Size()), Most: n.functions[name].Store, Keys: []api.FunctionKey{}}
	for key, ok := s.Next(prefix, after); ok; key, ok = s.Next(prefix, key) {
		if len(out.Keys) == api.FunctionStorePage {
			out.Next = out.Keys[len(out.Keys)-1].Key
			break
		}
		value, _ := s.Get(key)
		out.Keys = append(out.Keys, api.FunctionKey{Key: key, Size: int64(len(value))})
	}
	return out, nil
}

func (n functions) StoreGet(_ context.Context, name, key string) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.known(name); err != nil {
		return nil, err
	}
	value, ok := n.stores[name].Get(key)
	if !ok {
		return nil, fault.New(fault.NotFound, "the store of %s has no key %q", name, key)
	}
	return bytes.Clone(value), nil
}

func (n functions) StorePut(_ context.Context, name, key string, value []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.known(name); err != nil {
		return err
	}
	if n.stores[name].Set(key, value) != store.Done {
		return fault.New(fault.TooLarge, "the store of %s is full", name)
	}
	return nil
}

func (n functions) StoreRemove(_ context.Context, name, key string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.known(name); err != nil {
		return err
	}
	if !n.stores[name].Delete(key) {
		return fault.New(fault.NotFound, "the store of %s has no key %q", name, key)
	}
	return nil
}

func (n functionDoor) Door(context.Context) (api.FunctionDoor, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.door, nil
}

func (n functionDoor) Open(_ context.Context, at api.FunctionListen) (api.FunctionDoor, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.door.Open {
		return n.door, fault.New(fault.Exists, "open functions' HTTP door: it is open at %s", n.door.Endpoint)
	}
	n.door = api.FunctionDoor{Open: true, Endpoint: "http://" + at.Listen, Rate: 20}
	return n.door, nil
}

func (n functionDoor) Close(context.Context) (api.FunctionDoor, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.door = api.FunctionDoor{}
	return n.door, nil
}
