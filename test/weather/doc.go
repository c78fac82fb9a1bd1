// Package weather holds the laws of bad weather: real programs on one machine,
// and what becomes of files and money when processes die, disks rot or fill up,
// and peers or ledger nodes lie. Each test is one law. What is local to a
// package is tested there; here is what only the whole road shows.
package weather
