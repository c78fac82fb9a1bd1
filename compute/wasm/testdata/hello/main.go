// Command hello greets whom it is told to.
package main

import "fmt"

func main() { fmt.Println("hello") }
