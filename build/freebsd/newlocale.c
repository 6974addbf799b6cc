/* Nuitka's C asks FreeBSD for a locale named "UTF-8" in order to read the path of its own program, and aborts where there
   is none. It is there under the name C.UTF-8; where that is missing too, as in a small jail, C will do for paths of
   ASCII. The linker takes this newlocale() before the C library's. */

#include <dlfcn.h>
#include <locale.h>
#include <stddef.h>
#include <string.h>
#include <xlocale.h>

typedef locale_t newlocale_function(int mask, const char *name, locale_t base);

locale_t newlocale(int mask, const char *name, locale_t base)
{
	static const char *const instead[] = {"C.UTF-8", "C", NULL};
	newlocale_function *library = (newlocale_function *)dlsym(RTLD_NEXT, "newlocale");
	locale_t found = library(mask, name, base);

	if (found == (locale_t)0 && strcmp(name, "UTF-8") == 0)
		for (int i = 0; found == (locale_t)0 && instead[i] != NULL; i++)
			found = library(mask, instead[i], base);
	return found;
}
