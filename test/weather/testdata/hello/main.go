// Command hello is what lies in the image that a law pushes.
package main

import "fmt"

func main() { fmt.Println("hello from an image") }
